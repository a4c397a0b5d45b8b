package certificate_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/audit/certificate"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
)

var update = flag.Bool("update", false, "write the vectors anew")

func encode(t *testing.T, d *certificate.Document) []byte {
	t.Helper()
	b, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func parseAndVerify(b []byte, held ...checkpoint.Key) (*certificate.Verified, error) {
	d, err := certificate.Parse(b)
	if err != nil {
		return nil, err
	}
	return certificate.Verify(d, held...)
}

// TestVectors: the published certificates are what is made of the same content today, and verify.
func TestVectors(t *testing.T) {
	second := newSigner(origin, "the second key")
	passed := one(2)
	passed.signer, passed.logSigner = second, second
	passed.successions = [][]byte{succession(t, newSigner(origin, "the first key"), second)}
	for name, d := range map[string]*certificate.Document{
		"erasure.json":    one(1).make(t),
		"succession.json": passed.make(t),
		"removal.json":    withRemoval(t, one(1).make(t), nil, newSigner(origin, "the first key")),
	} {
		made := encode(t, d)
		if *update {
			if err := os.WriteFile("testdata/"+name, made, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		published, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(made, published) {
			t.Errorf("%s is not what is made today", name)
		}
		v, err := parseAndVerify(published, key())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if (v.Removal != nil) != (name == "removal.json") || v.Tree.Size != 9 || v.KeyDestroyed != 5 || v.Erased != 7 {
			t.Errorf("%s: %+v", name, v)
		}
		said := strings.Join(append(v.Proved(), v.Stated()...), "\n")
		for _, want := range []string{v.Content.Erasure, "2 key(s)", "30 days", "index epoch 3", "proof of consent (1), until 2031-12-01"} {
			if !strings.Contains(said, want) {
				t.Errorf("%s: nothing is said of %q in\n%s", name, want, said)
			}
		}
	}
	text, err := os.ReadFile("testdata/key")
	if *update {
		text, err = []byte(key().String()+"\n"), os.WriteFile("testdata/key", []byte(key().String()+"\n"), 0o644)
	}
	if err != nil || string(text) != key().String()+"\n" {
		t.Errorf("the published key is %s: %v", text, err)
	}
}

func succession(t *testing.T, from, to signer) []byte {
	t.Helper()
	note, err := checkpoint.SignSuccession(t.Context(), checkpoint.Succession{From: from.Key(), To: to.Key(), Size: 3}, from)
	if err != nil {
		t.Fatal(err)
	}
	return note
}

// TestEveryByte: a document of which one byte is another is refused, whichever byte and whatever it becomes.
func TestEveryByte(t *testing.T) {
	second := newSigner(origin, "the second key")
	e := one(1)
	e.signer, e.logSigner = second, second
	e.successions = [][]byte{succession(t, newSigner(origin, "the first key"), second)}
	d := e.make(t)
	whole := encode(t, withRemoval(t, d, nil, second))
	if _, err := parseAndVerify(whole, key()); err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		for _, flip := range flips() {
			damaged := bytes.Clone(whole)
			damaged[at] ^= flip
			if _, err := parseAndVerify(damaged, key()); err == nil {
				t.Fatalf("byte %d (%q) may be %q", at, whole[at], damaged[at])
			}
		}
		if _, err := parseAndVerify(whole[:at], key()); err == nil {
			t.Fatalf("it may be cut at %d", at)
		}
	}
	if _, err := parseAndVerify(append(bytes.Clone(whole), '\n'), key()); err == nil {
		t.Error("it may be longer")
	}
}

// flips are the bits that TestEveryByte turns over: two of them, or all with SANDYQ_TEST_SCALE.
func flips() []byte {
	if scale, err := strconv.Atoi(os.Getenv("SANDYQ_TEST_SCALE")); err == nil && scale > 1 {
		return []byte{1, 2, 4, 8, 16, 32, 64, 128}
	}
	return []byte{1, 32}
}

// TestSwappedMembers: no member of the certificate of one erasure stands in another's, even when one log signed both at the
// same size.
func TestSwappedMembers(t *testing.T) {
	first := newSigner(origin, "the first key")
	a, b := withRemoval(t, one(1).make(t), nil, first), withRemoval(t, one(2).make(t), nil, first)
	for name, swap := range map[string]func(*certificate.Document){
		"certificate":            func(d *certificate.Document) { d.Certificate = b.Certificate },
		"key_destroyed":          func(d *certificate.Document) { d.KeyDestroyed = b.KeyDestroyed },
		"key_destroyed's entry":  func(d *certificate.Document) { d.KeyDestroyed.Entry = b.KeyDestroyed.Entry },
		"key_destroyed's proof":  func(d *certificate.Document) { d.KeyDestroyed.Proof = b.KeyDestroyed.Proof },
		"erased":                 func(d *certificate.Document) { d.Erased = b.Erased },
		"erased's entry":         func(d *certificate.Document) { d.Erased.Entry = b.Erased.Entry },
		"erased's proof":         func(d *certificate.Document) { d.Erased.Proof = b.Erased.Proof },
		"both entries":           func(d *certificate.Document) { d.KeyDestroyed, d.Erased = b.KeyDestroyed, b.Erased },
		"removal":                func(d *certificate.Document) { d.Removal = b.Removal },
		"its own entries":        func(d *certificate.Document) { d.KeyDestroyed, d.Erased = d.Erased, d.KeyDestroyed },
		"one entry twice":        func(d *certificate.Document) { d.Erased = d.KeyDestroyed },
		"removal as certificate": func(d *certificate.Document) { d.Certificate = d.Removal },
		"certificate as removal": func(d *certificate.Document) { d.Removal = d.Certificate },
	} {
		d := *a
		swap(&d)
		if _, err := parseAndVerify(encode(t, &d), key()); err == nil {
			t.Errorf("%s of another is taken", name)
		}
	}
}

// TestRefused: each thing that may be wrong is refused in words that say what.
func TestRefused(t *testing.T) {
	first, stranger := newSigner(origin, "the first key"), newSigner(origin, "a stranger's key")
	later := func(t time.Time) time.Time { return t.Add(time.Millisecond) }
	for name, c := range map[string]struct {
		change func(*erasure)
		is     error
		says   string
	}{
		"signed by another key":       {func(e *erasure) { e.signer = stranger }, checkpoint.ErrUnverified, "no known key signed"},
		"a checkpoint of another key": {func(e *erasure) { e.logSigner = stranger }, checkpoint.ErrUnverified, "erasure.key_destroyed"},
		"another erasure's entry":     {func(e *erasure) { e.erased.Objects = []string{one(9).content.Erasure} }, certificate.ErrMismatch, "another erasure"},
		"two erasures' entry":         {func(e *erasure) { e.erased.Objects = append(e.erased.Objects, one(9).content.Erasure) }, certificate.ErrMismatch, "another erasure"},
		"an entry of slices":          {func(e *erasure) { e.erased.Objects = append(e.erased.Objects, "slices/documents") }, certificate.ErrMismatch, "another scope"},
		"slices as the whole person":  {func(e *erasure) { e.keyDestroyed.Objects = append(e.keyDestroyed.Objects, "slices/documents") }, certificate.ErrMismatch, "another scope"},
		"the whole person as slices": {func(e *erasure) {
			e.content.Scope = certificate.Scope{Slices: []string{"documents", "identity"}}
		}, certificate.ErrMismatch, "another scope"},
		"another person's entry":      {func(e *erasure) { e.keyDestroyed.Subject = one(9).content.Subject }, certificate.ErrMismatch, "another person"},
		"another operation":           {func(e *erasure) { e.erased.Operation = "erasure.show" }, certificate.ErrMismatch, "something else"},
		"somebody else's deed":        {func(e *erasure) { e.erased.System = "crm" }, certificate.ErrMismatch, "something else"},
		"a refusal":                   {func(e *erasure) { e.erased.Decision = audit.Deny }, certificate.ErrMismatch, "something else"},
		"another ground":              {func(e *erasure) { e.keyDestroyed.Kind = "court" }, certificate.ErrMismatch, "ground"},
		"another reason":              {func(e *erasure) { e.erased.Reason = "other" }, certificate.ErrMismatch, "reason"},
		"another time of destruction": {func(e *erasure) { e.keyDestroyed.At = later(e.keyDestroyed.At) }, certificate.ErrMismatch, "another time"},
		"another time of the end":     {func(e *erasure) { e.erased.At = later(e.erased.At) }, certificate.ErrMismatch, "another time"},
		"an id of another time":       {func(e *erasure) { e.erased.ID = audit.NewID(later(e.erased.At)).String() }, certificate.ErrFormat, "id"},
		"other keys":                  {func(e *erasure) { e.keyDestroyed.Digest = strings.Repeat("0", 64) }, certificate.ErrMismatch, "keys or counts"},
		"a log that commits to none":  {func(e *erasure) { e.keyDestroyed.Digest = "none" }, certificate.ErrMismatch, "keys or counts"},
		"a key passed on by nobody":   {func(e *erasure) { e.signer, e.logSigner = stranger, stranger }, checkpoint.ErrUnverified, "no known key"},
	} {
		e := one(1)
		c.change(e)
		_, err := parseAndVerify(encode(t, e.make(t)), key())
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := one(1).make(t)
	for name, c := range map[string]struct {
		change func(*certificate.Removal)
		by     signer
		is     error
	}{
		"of another erasure":     {func(r *certificate.Removal) { r.Erasure = one(9).content.Erasure }, first, certificate.ErrMismatch},
		"of another certificate": {func(r *certificate.Removal) { r.Certificate = strings.Repeat("0", 64) }, first, certificate.ErrMismatch},
		"measured before":        {func(r *certificate.Removal) { r.MeasuredAt = began }, first, certificate.ErrMismatch},
		"by another key":         {nil, stranger, checkpoint.ErrUnverified},
	} {
		if _, err := parseAndVerify(encode(t, withRemoval(t, good, c.change, c.by)), key()); !errors.Is(err, c.is) {
			t.Errorf("a removal %s: %v", name, err)
		}
	}
	if _, err := certificate.Verify(good, stranger.Key()); !errors.Is(err, checkpoint.ErrUnverified) {
		t.Errorf("with a stranger's key: %v", err)
	}
	if _, err := certificate.Verify(good); !errors.Is(err, checkpoint.ErrUnverified) {
		t.Errorf("without a key: %v", err)
	}
	if _, err := certificate.Verify(good, stranger.Key(), key()); err != nil {
		t.Errorf("with the right key among others: %v", err)
	}
}

// TestTwoCheckpoints: entries proved against different heads of one log are refused, though each proof is good.
func TestTwoCheckpoints(t *testing.T) {
	e := one(1)
	first, second := e.encode(t, &e.keyDestroyed), e.encode(t, &e.erased)
	log := &tree{t: t}
	at := log.append(first)
	before := log.prove(at, first, log.checkpoint(e.logSigner))
	then := log.append(second)
	after := log.prove(then, second, log.checkpoint(e.logSigner))
	note, err := certificate.Sign(t.Context(), &e.content, e.signer)
	if err != nil {
		t.Fatal(err)
	}
	d, err := certificate.NewDocument(note, before, after, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := certificate.Verify(d, key()); !errors.Is(err, certificate.ErrMismatch) {
		t.Errorf("two checkpoints: %v", err)
	}
}

// TestOrder: a log that has the end before the destruction is refused.
func TestOrder(t *testing.T) {
	e := one(1)
	first, second := e.encode(t, &e.keyDestroyed), e.encode(t, &e.erased)
	log := &tree{t: t}
	then, at := log.append(second), log.append(first)
	head := log.checkpoint(e.logSigner)
	note, err := certificate.Sign(t.Context(), &e.content, e.signer)
	if err != nil {
		t.Fatal(err)
	}
	d, err := certificate.NewDocument(note, log.prove(at, first, head), log.prove(then, second, head), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := certificate.Verify(d, key()); !errors.Is(err, certificate.ErrMismatch) || !strings.Contains(err.Error(), "order") {
		t.Errorf("the wrong order: %v", err)
	}
}

// TestNothingElseIsSigned: what a parser would refuse is not signed either.
func TestNothingElseIsSigned(t *testing.T) {
	for name, change := range map[string]func(*certificate.Content){
		"an erasure without an id":   func(c *certificate.Content) { c.Erasure = "" },
		"a person under no id":       func(c *certificate.Content) { c.Subject = "850312113646" },
		"another log's name":         func(c *certificate.Content) { c.Origin = "elsewhere.example" },
		"a tenant of another shape":  func(c *certificate.Content) { c.Tenant = "Main" },
		"an operator of two lines":   func(c *certificate.Content) { c.Operator = "A\nB" },
		"an operator written back":   func(c *certificate.Content) { c.Operator = "A\u202eB" },
		"no ground":                  func(c *certificate.Content) { c.Ground = certificate.Ground{} },
		"a ground without citation":  func(c *certificate.Content) { c.Ground.Articles = nil },
		"law and citation":           func(c *certificate.Content) { c.Ground.Citation = "decision 2-118" },
		"a reason of words":          func(c *certificate.Content) { c.Reason = "the person asked" },
		"no scope":                   func(c *certificate.Content) { c.Scope = certificate.Scope{} },
		"two scopes":                 func(c *certificate.Content) { c.Scope.Slices = []string{"identity"} },
		"keys beyond the scope":      func(c *certificate.Content) { c.Scope = certificate.Scope{Slices: []string{"identity"}} },
		"erased before destroyed":    func(c *certificate.Content) { c.ErasedAt = c.KeyDestroyedAt.Add(-time.Second) },
		"no time":                    func(c *certificate.Content) { c.RequestedAt = time.Time{} },
		"a finer time":               func(c *certificate.Content) { c.ErasedAt = c.ErasedAt.Add(1) },
		"another time zone":          func(c *certificate.Content) { c.ErasedAt = c.ErasedAt.In(time.FixedZone("", 5*3600)) },
		"fewer than nothing":         func(c *certificate.Content) { c.Destroyed.Tokens = -1 },
		"no list":                    func(c *certificate.Content) { c.Destroyed.Slices = nil },
		"one key twice":              func(c *certificate.Content) { c.Destroyed.Slices[0].Key = c.Destroyed.Slices[1].Key },
		"a key of capital digits":    func(c *certificate.Content) { c.Destroyed.Slices[0].Key = strings.Repeat("A", 32) },
		"slices in another order":    func(c *certificate.Content) { s := c.Destroyed.Slices; s[0], s[1] = s[1], s[0] },
		"nothing about what is kept": func(c *certificate.Content) { c.Kept = nil },
		"kept for no reason":         func(c *certificate.Content) { c.Kept[0].Citation = "" },
		"no place in the ledger":     func(c *certificate.Content) { c.Ledger.Entry = 0 },
		"no snapshot days":           func(c *certificate.Content) { c.Residue.Keys.SnapshotDays = 0 },
		"snapshots of files":         func(c *certificate.Content) { c.Residue.Keys.Provider = "local" },
		"nothing left already":       func(c *certificate.Content) { c.Residue.Physical = "none" },
	} {
		e := one(1)
		change(&e.content)
		if note, err := certificate.Sign(t.Context(), &e.content, e.signer); !errors.Is(err, certificate.ErrFormat) {
			t.Errorf("%s: %v\n%s", name, err, note)
		}
	}
}

// TestParse: what is JSON of the same meaning, and not the very document, is refused.
func TestParse(t *testing.T) {
	b := encode(t, one(1).make(t))
	for name, text := range map[string]string{
		"nothing":          "",
		"no JSON":          "\n",
		"a space":          strings.Replace(string(b), `":"`, `": "`, 1),
		"an escape":        strings.Replace(string(b), "sandyq", `\u0073andyq`, 1),
		"an unknown one":   strings.Replace(string(b), "{", `{"a":1,`, 1),
		"a member twice":   strings.Replace(string(b), "{", `{"successions":[],`, 1),
		"another case":     strings.Replace(string(b), `"format"`, `"Format"`, 1),
		"another order":    strings.Replace(strings.Replace(string(b), `"format":"sandyq erasure certificate document v1",`, "", 1), "{", `{"format":"sandyq erasure certificate document v1",`, 1),
		"another version":  strings.Replace(string(b), "document v1", "document v2", 1),
		"no newline":       strings.TrimSuffix(string(b), "\n"),
		"too much":         string(b) + strings.Repeat(" ", certificate.MaxDocument),
		"no successions":   strings.Replace(string(b), `"successions":[]`, `"successions":null`, 1),
		"an empty removal": strings.Replace(string(b), `"successions"`, `"removal":"","successions"`, 1),
	} {
		if _, err := certificate.Parse([]byte(text)); !errors.Is(err, certificate.ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzVerify: whatever verifies is what Encode writes, and nothing but the published certificates does.
func FuzzVerify(f *testing.F) {
	published := map[string]bool{}
	for _, name := range []string{"erasure.json", "succession.json", "removal.json"} {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		published[string(b)] = true
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := certificate.Parse(b)
		if err != nil {
			return
		}
		if again := encode(t, d); !bytes.Equal(again, b) {
			t.Fatalf("%s is written %s", b, again)
		}
		if _, err := certificate.Verify(d, key()); err == nil && !published[string(b)] {
			t.Fatalf("a forgery verifies: %s", b)
		}
	})
}
