package ledger

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
)

// MaxLine is the most that a line has, in bytes.
const MaxLine = 1 << 20

const (
	version    = 1
	timeLayout = "2006-01-02T15:04:05.000Z"
	maxText    = 255 // bytes of a ref, an id or a name

	headerDomain = "sandyq/ledger/1 header\n"
	entryDomain  = "sandyq/ledger/1 entry\n"
)

// Header is line 0.
type Header struct {
	ID     [16]byte // random, so that no two ledgers have a line in common
	Tenant string
	At     time.Time
}

// Sealed is a line that was parsed and not verified.
type Sealed struct {
	Header Header   // of line 0
	Entry  Entry    // of all others
	Prev   [32]byte // hash of the line before; zero in the header
	Hash   [32]byte // of this line

	key       ed25519.PublicKey
	message   []byte // what is signed
	signature []byte
}

// The members of a line, in the order in which they stand.
type (
	headerLine struct {
		Version int    `json:"v"`
		ID      string `json:"ledger"`
		Tenant  string `json:"tenant"`
		At      string `json:"at"`
		Key     string `json:"key"`
		Sig     string `json:"sig"`
	}
	entryLine struct {
		Version int       `json:"v"`
		Number  uint64    `json:"n"`
		Prev    string    `json:"prev"`
		At      string    `json:"at"`
		Kind    Kind      `json:"kind"`
		Ref     string    `json:"ref"`
		Subject string    `json:"subject,omitzero"`
		Keys    []string  `json:"keys,omitempty"`
		Slices  []string  `json:"slices,omitempty"`
		Log     *position `json:"log,omitzero"`
		Key     string    `json:"key"`
		Sig     string    `json:"sig"`
	}
	// position has its number last: no part of a line but its end reads "} , which is how a torn line is told from a whole one.
	position struct {
		Origin string `json:"origin"`
		Root   string `json:"root"`
		Size   int64  `json:"size"`
	}
)

// SealHeader writes the first line of a ledger, without its line feed.
func SealHeader(ctx context.Context, s checkpoint.Signer, h Header) ([]byte, error) {
	if !plain(h.Tenant) {
		return nil, fmt.Errorf("ledger: %w: the tenant's name", ErrInvalid)
	}
	return seal(ctx, s, headerDomain, func(key, sig string) any {
		return headerLine{Version: version, ID: hex.EncodeToString(h.ID[:]), Tenant: h.Tenant, At: stamp(h.At), Key: key, Sig: sig}
	})
}

// Seal writes the line of an entry that follows on head, without its line feed. The entry's own number does not count.
func Seal(ctx context.Context, s checkpoint.Signer, after Head, e Entry) ([]byte, error) {
	e.Number = after.Entries + 1
	if err := e.check(); err != nil {
		return nil, err
	}
	return seal(ctx, s, entryDomain, func(key, sig string) any { return e.line(after.Hash, key, sig) })
}

// seal signs what write writes, under the key that the signer has at this moment.
func seal(ctx context.Context, s checkpoint.Signer, domain string, write func(key, sig string) any) ([]byte, error) {
	key := s.Key().Public
	name := base64.StdEncoding.EncodeToString(key)
	unsigned, err := json.Marshal(write(name, ""))
	if err != nil {
		return nil, fmt.Errorf("ledger: write a line: %w", err)
	}
	message := append([]byte(domain), unsigned[:signedLength(unsigned)]...)
	signature, err := s.Sign(ctx, message)
	if err != nil {
		return nil, fmt.Errorf("ledger: sign a line: %w", err)
	}
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, message, signature) {
		return nil, errors.New("ledger: sign a line: the signature is not of the signer's key, which may have been rotated meanwhile")
	}
	line, err := json.Marshal(write(name, base64.StdEncoding.EncodeToString(signature)))
	if err != nil {
		return nil, fmt.Errorf("ledger: write a line: %w", err)
	}
	if len(line) > MaxLine {
		return nil, fmt.Errorf("ledger: %w: longer than %d bytes", ErrInvalid, MaxLine)
	}
	return line, nil
}

// signedLength is how much of a line is signed: all before the signature, which is the last member.
func signedLength(line []byte) int { return max(0, bytes.LastIndex(line, []byte(`,"sig":"`))) }

// line is the entry as it is written.
func (e Entry) line(prev [32]byte, key, sig string) entryLine {
	l := entryLine{
		Version: version, Number: e.Number, Prev: hex.EncodeToString(prev[:]), At: stamp(e.At), Kind: e.Kind, Ref: e.Ref,
		Subject: e.Subject, Slices: e.Slices, Key: key, Sig: sig,
	}
	for _, id := range e.Keys {
		l.Keys = append(l.Keys, id.String())
	}
	if e.Log != (Position{}) {
		l.Log = &position{Origin: e.Log.Origin, Root: hex.EncodeToString(e.Log.Root[:]), Size: e.Log.Size}
	}
	return l
}

// ParseHeader reads line 0, without its line feed. The error wraps ErrDamaged.
func ParseHeader(line []byte) (Sealed, error) {
	var l headerLine
	s, err := parse(line, &l, headerDomain, func() (string, string) { return l.Key, l.Sig })
	if err != nil {
		return s, err
	}
	p := parsing{}
	s.Header = Header{Tenant: l.Tenant, At: p.time(l.At)}
	p.hex(s.Header.ID[:], l.ID)
	if p.failed || l.Version != version || !plain(l.Tenant) {
		return s, malformed("header")
	}
	return s, nil
}

// Parse reads the line of an entry, without its line feed. The error wraps ErrDamaged.
func Parse(line []byte) (Sealed, error) {
	var l entryLine
	s, err := parse(line, &l, entryDomain, func() (string, string) { return l.Key, l.Sig })
	if err != nil {
		return s, err
	}
	p := parsing{}
	s.Entry = Entry{Number: l.Number, At: p.time(l.At), Kind: l.Kind, Ref: l.Ref, Subject: l.Subject, Slices: l.Slices}
	p.hex(s.Prev[:], l.Prev)
	for _, text := range l.Keys {
		var id kms.ID
		p.hex(id[:], text)
		s.Entry.Keys = append(s.Entry.Keys, id)
	}
	if l.Log != nil {
		s.Entry.Log = Position{Origin: l.Log.Origin, Size: l.Log.Size}
		p.hex(s.Entry.Log.Root[:], l.Log.Root)
		p.failed = p.failed || s.Entry.Log == Position{}
	}
	if p.failed || l.Version != version || s.Entry.check() != nil {
		return s, malformed("entry")
	}
	return s, nil
}

// parse reads a line into its members and takes apart what they have in common.
func parse(line []byte, into any, domain string, signed func() (key, sig string)) (Sealed, error) {
	if len(line) > MaxLine {
		return Sealed{}, malformed("line")
	}
	if err := json.Unmarshal(line, into, json.RejectUnknownMembers(true)); err != nil {
		return Sealed{}, malformed("line") // the error could quote the line
	}
	again, err := json.Marshal(into)
	if err != nil || !bytes.Equal(again, line) {
		return Sealed{}, malformed("line")
	}
	key, sig := signed()
	p := parsing{}
	s := Sealed{
		Hash: sha256.Sum256(line), key: p.base64(key, ed25519.PublicKeySize), signature: p.base64(sig, ed25519.SignatureSize),
		message: append([]byte(domain), line[:signedLength(line)]...),
	}
	if p.failed {
		return Sealed{}, malformed("line")
	}
	return s, nil
}

func malformed(what string) error {
	return fmt.Errorf("ledger: %w (not a %s as it is written)", ErrDamaged, what)
}

// parsing remembers whether any part failed.
type parsing struct{ failed bool }

func (p *parsing) hex(into []byte, text string) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(into) || hex.EncodeToString(b) != text {
		p.failed = true
		return
	}
	copy(into, b)
}

func (p *parsing) base64(text string, size int) []byte {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	p.failed = p.failed || err != nil || len(b) != size
	return b
}

func (p *parsing) time(text string) time.Time {
	t, err := time.Parse(timeLayout, text)
	p.failed = p.failed || err != nil || stamp(t) != text
	return t.UTC()
}

func stamp(t time.Time) string { return t.UTC().Format(timeLayout) }

// check says whether an entry can be written, with its keys and slices in order.
func (e Entry) check() error {
	invalid := func(what string) error { return fmt.Errorf("ledger: %w: its %s", ErrInvalid, what) }
	switch {
	case e.Kind != Subject && e.Kind != Slices && e.Kind != Key && e.Kind != Epoch:
		return invalid("kind")
	case !plain(e.Ref):
		return invalid("ref")
	case e.Subject != "" && !plain(e.Subject), e.Erases() && e.Subject == "", e.Kind == Epoch && e.Subject != "":
		return invalid("subject")
	case e.Kind == Key && len(e.Keys) == 0, e.Kind == Epoch && len(e.Keys) != 1, slices.ContainsFunc(e.Keys, kms.ID.IsZero), !ascending(e.Keys, compareID):
		return invalid("keys")
	case e.Kind == Slices && len(e.Slices) == 0, e.Kind == Epoch && len(e.Slices) > 0, !ascending(e.Slices, strings.Compare), slices.ContainsFunc(e.Slices, func(s string) bool { return !plain(s) }):
		return invalid("slices")
	case e.Log.Size < 0, e.Log != Position{} && !plain(e.Log.Origin):
		return invalid("position in the log")
	case e.At.Year() < 1970 || e.At.Year() > 9999: // what RFC 3339 can write
		return invalid("time")
	case e.Number == 0:
		return invalid("number")
	}
	return nil
}

// ascending reports whether each is before the next.
func ascending[T any](s []T, compare func(a, b T) int) bool {
	for i := 1; i < len(s); i++ {
		if compare(s[i-1], s[i]) >= 0 {
			return false
		}
	}
	return true
}

// plain reports whether a text is printable ASCII that JSON writes as it is.
func plain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return text != "" && len(text) <= maxText
}

// Whole reports whether a text without line feed is a line that lacks nothing but that. It is not verified.
func Whole(tail []byte) bool {
	_, header := ParseHeader(tail)
	_, entry := Parse(tail)
	return header == nil || entry == nil
}

// Torn reports whether what follows the last line feed is what a write that was cut short leaves: a proper beginning of the
// line that follows on head, or, where the file system had made room already, zeros from some byte on to the end. A line
// ends in "} and has these two bytes nowhere else.
func Torn(tail []byte, after Head) bool {
	text := bytes.TrimRight(tail, "\x00")
	begins := `{"v":1,"n":` + strconv.FormatUint(after.Entries+1, 10) + `,"prev":"` + hex.EncodeToString(after.Hash[:]) + `","at":"`
	n := min(len(begins), len(text))
	return string(text[:n]) == begins[:n] && !bytes.Contains(text, []byte(`"}`)) &&
		!bytes.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}
