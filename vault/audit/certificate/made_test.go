package certificate_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/audit/certificate"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/id"
)

// origin names the log of these tests.
const origin = "vault.example.kz/main"

// signer signs under a key that is made of a seed, so that vectors are the same every time.
type signer struct {
	name    string
	private ed25519.PrivateKey
}

func newSigner(name, seed string) signer {
	sum := sha256.Sum256([]byte(seed))
	return signer{name, ed25519.NewKeyFromSeed(sum[:])}
}

func (s signer) Key() checkpoint.Key {
	return checkpoint.Key{Name: s.name, Public: s.private.Public().(ed25519.PublicKey)}
}

func (s signer) Sign(_ context.Context, msg []byte) ([]byte, error) {
	return ed25519.Sign(s.private, msg), nil
}

// tree is a log in memory.
type tree struct {
	t      *testing.T
	size   int64
	hashes []tlog.Hash
}

func (l *tree) ReadHashes(at []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(at))
	for i, n := range at {
		found[i] = l.hashes[n]
	}
	return found, nil
}

func (l *tree) append(entry []byte) int64 {
	l.t.Helper()
	more, err := tlog.StoredHashes(l.size, entry, l)
	if err != nil {
		l.t.Fatal(err)
	}
	l.hashes = append(l.hashes, more...)
	l.size++
	return l.size - 1
}

// checkpoint is the signed head of the tree as it is.
func (l *tree) checkpoint(by signer) []byte {
	l.t.Helper()
	root, err := tlog.TreeHash(l.size, l)
	if err != nil {
		l.t.Fatal(err)
	}
	text, err := checkpoint.Tree{Origin: by.name, Size: l.size, Root: root}.Marshal()
	if err != nil {
		l.t.Fatal(err)
	}
	note, err := checkpoint.Sign(l.t.Context(), text, by)
	if err != nil {
		l.t.Fatal(err)
	}
	return note
}

func (l *tree) prove(index int64, entry, head []byte) certificate.Evidence {
	l.t.Helper()
	hashes, err := tlog.ProveRecord(l.size, index, l)
	if err != nil {
		l.t.Fatal(err)
	}
	proof, err := checkpoint.InclusionProof{Index: index, Hashes: hashes, Checkpoint: head}.Marshal()
	if err != nil {
		l.t.Fatal(err)
	}
	return certificate.Evidence{Entry: string(entry), Proof: string(proof)}
}

// erasure is what a certificate is made of; a test changes a part before make.
type erasure struct {
	content      certificate.Content
	keyDestroyed audit.Entry
	erased       audit.Entry
	signer       signer // of the certificate
	logSigner    signer // of the checkpoint
	successions  [][]byte
}

var began = time.Date(2026, 11, 22, 4, 30, 0, 0, time.UTC)

// one is the n-th erasure, of somebody else and at another time than every other.
func one(n byte) *erasure {
	at := func(ms int) time.Time {
		return began.Add(time.Duration(n)*time.Hour + time.Duration(ms)*time.Millisecond)
	}
	named := func(prefix string, kind byte) string { return id.Encode(prefix, [16]byte{15: kind, 14: n}) }
	by := newSigner(origin, "the first key")
	e := &erasure{signer: by, logSigner: by}
	e.content = certificate.Content{
		Erasure: named("era_", 1), Tenant: "main", Operator: "ЖШС «Гауһар»", Origin: origin, Subject: named("sub_", 2),
		Requester: &certificate.Requester{System: "crm", Subject: named("sub_", 3)},
		Ground:    certificate.Ground{Code: "request", Law: "94-V", Articles: []string{"18", "24"}},
		Reason:    "person_asked", Scope: certificate.Scope{Person: true},
		RequestedAt: at(0), ErasingAt: at(1500), KeyDestroyedAt: at(2750), ErasedAt: at(3001),
		Destroyed: certificate.Destroyed{
			Slices: []certificate.Slice{
				{Slice: "documents", Key: fmt.Sprintf("%032x", 256*int(n)+1), Values: certificate.Values{Document: 2}, Parts: 3},
				{Slice: "identity", Key: fmt.Sprintf("%032x", 256*int(n)+2), Values: certificate.Values{Identity: 4, Contact: 3, Address: 2, Document: 1}},
			},
			Tokens: 12, IndexEntries: 5,
		},
		Kept:   []certificate.Kept{{Citation: "proof of consent", Count: 1, Until: time.Date(2031, 12, 1, 0, 0, 0, 0, time.UTC)}},
		Ledger: &certificate.Ledger{Entry: uint64(n) + 1, Head: fmt.Sprintf("%064x", int(n)+77)},
		Residue: certificate.Residue{
			Keys:     certificate.KeyResidue{Provider: certificate.ProviderVault, SnapshotDays: 30, Until: at(2750).AddDate(0, 0, 30)},
			Index:    &certificate.IndexResidue{Epoch: 3, DestroyedBy: time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)},
			Physical: certificate.PhysicalPending,
		},
	}
	e.keyDestroyed, e.erased = e.entry("erasure.key_destroyed", 10), e.entry("erasure.erased", 11)
	e.keyDestroyed.At, e.erased.At = e.content.KeyDestroyedAt, e.content.ErasedAt
	return e
}

func (e *erasure) entry(operation string, number byte) audit.Entry {
	c := &e.content
	return audit.Entry{
		System: "sandyq", Operation: operation, Subject: c.Subject, Objects: []string{c.Erasure}, Reason: c.Reason, Kind: c.Ground.Code,
		Decision: audit.Allow, ID: string(number),
	}
}

// make logs the entries among others and returns the document.
func (e *erasure) make(t *testing.T) *certificate.Document {
	t.Helper()
	log := &tree{t: t}
	for i := range 5 {
		log.append(fmt.Appendf(nil, `{"n":%d}`, i))
	}
	first, second := e.encode(t, &e.keyDestroyed), e.encode(t, &e.erased)
	at := log.append(first)
	log.append([]byte(`{"n":5}`))
	then := log.append(second)
	log.append([]byte(`{"n":6}`))
	head := log.checkpoint(e.logSigner)
	note, err := certificate.Sign(t.Context(), &e.content, e.signer)
	if err != nil {
		t.Fatal(err)
	}
	d, err := certificate.NewDocument(note, log.prove(at, first, head), log.prove(then, second, head), e.successions)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// encode writes an entry with an id of its time, and the digest unless a test has set another.
func (e *erasure) encode(t *testing.T, entry *audit.Entry) []byte {
	t.Helper()
	if len(entry.ID) == 1 {
		made := audit.FirstID(entry.At)
		made[15] = entry.ID[0]
		entry.ID = made.String()
	}
	if entry.Operation == "erasure.key_destroyed" && entry.Digest == "" {
		digest, err := e.content.Destroyed.Digest()
		if err != nil {
			t.Fatal(err)
		}
		entry.Digest = digest
	}
	b, err := entry.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// key is the one that everybody holds.
func key() checkpoint.Key { return newSigner(origin, "the first key").Key() }

// withRemoval adds the note that nothing is left.
func withRemoval(t *testing.T, d *certificate.Document, change func(*certificate.Removal), by signer) *certificate.Document {
	t.Helper()
	v, err := certificate.Verify(d, key())
	if err != nil {
		t.Fatal(err)
	}
	r := &certificate.Removal{
		Erasure: v.Content.Erasure, Certificate: v.Hash, Origin: origin, MeasuredAt: v.Content.ErasedAt.Add(time.Hour),
		Measured: []certificate.Measure{{What: "documents"}, {What: "store"}},
	}
	if change != nil {
		change(r)
	}
	note, err := certificate.SignRemoval(t.Context(), r, by)
	if err != nil {
		t.Fatal(err)
	}
	more := *d
	more.Removal = string(note)
	return &more
}
