package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
)

// ID names a snapshot: the SHA-256 of its manifest.
type ID [sha256.Size]byte

// idPrefix is before the digits of an id.
const idPrefix = "bkp_"

func (id ID) String() string { return idPrefix + hex.EncodeToString(id[:]) }

// ParseID reads an id.
func ParseID(text string) (ID, error) {
	var id ID
	if len(text) < len(idPrefix) || text[:len(idPrefix)] != idPrefix || !decodeHex(id[:], text[len(idPrefix):]) {
		return id, fmt.Errorf("a snapshot's id is %s and %d hexadecimal digits", idPrefix, 2*len(id))
	}
	return id, nil
}

// Summary is what a repository shows of a snapshot to everybody, and what the manifest vouches for.
type Summary struct {
	Version   int       `json:"version"`
	Vault     string    `json:"vault"`      // whose it is: see vault.Service.TakeBackup
	TakenAt   time.Time `json:"taken_at"`   // of the one state that it holds
	Rows      int64     `json:"rows"`       // that it holds
	Bytes     int64     `json:"bytes"`      // of the rows, in plaintext
	Chunks    int64     `json:"chunks"`     // that the rows are in
	Blobs     int64     `json:"blobs"`      // that it holds
	BlobBytes int64     `json:"blob_bytes"` // of these
	Gone      int64     `json:"gone"`       // blobs that an erasure removed while it was taken
	Lost      int64     `json:"lost"`       // blobs that its rows name and that the vault does not have
	Listing   string    `json:"listing"`    // SHA-256 of the listing, hexadecimal
}

// Manifest is what a snapshot is. It is written sealed.
type Manifest struct {
	Summary
	Tenants    []string `json:"tenants"`
	Engine     string   `json:"engine"`     // of the store that it was taken from
	Recipients []string `json:"recipients"` // whom it is encrypted to
	LeftOut    string   `json:"left_out"`   // the kinds of rows that a backup never has
}

// Header is what everybody may read of a snapshot.
type Header struct {
	ID string `json:"id"`
	Summary
}

// encode writes the one text of a manifest.
func (m *Manifest) encode() ([]byte, error) { return json.Marshal(m, json.Deterministic(true)) }

// maxManifest bounds a manifest, and a header, in bytes.
const maxManifest = 1 << 20

func decodeManifest(b []byte) (*Manifest, error) {
	m := new(Manifest)
	if err := json.Unmarshal(b, m, json.RejectUnknownMembers(true)); err != nil {
		return nil, damaged("its manifest cannot be read")
	}
	if m.Version != Version {
		return nil, fmt.Errorf("the backup has version %d of its format, and this program knows %d", m.Version, Version)
	}
	return m, nil
}

func decodeHeader(b []byte) (*Header, error) {
	h := new(Header)
	if err := json.Unmarshal(b, h, json.RejectUnknownMembers(true)); err != nil {
		return nil, damaged("a snapshot's header cannot be read")
	}
	if h.Version != Version {
		return nil, fmt.Errorf("the backup has version %d of its format, and this program knows %d", h.Version, Version)
	}
	const most = 1 << 40 // so that the length of a listing cannot overflow
	if _, err := ParseID(h.ID); err != nil || h.Chunks < 0 || h.Blobs < 0 || h.Chunks > most || h.Blobs > most {
		return nil, damaged("a snapshot's header cannot be")
	}
	if text, err := json.Marshal(h, json.Deterministic(true)); err != nil || !bytes.Equal(text, b) {
		return nil, damaged("a snapshot's header is not what was written")
	}
	return h, nil
}
