package ledgertest

import (
	"errors"
	"testing"

	"github.com/sandyq/sandyq/vault/ledger"
)

func reopened(t *testing.T, p Place) {
	l := create(t, p, Entries(0, 3)...)
	before := headOf(t, l)
	shut(t, l)
	l = open(t, p, ours)
	if got := headOf(t, l); got != before {
		t.Errorf("Head = %+v, want %+v as before", got, before)
	}
	if n, found, err := l.Find(t.Context(), Entry(1).Ref); n != 2 || !found || err != nil {
		t.Errorf("Find = %d, %t, %v", n, found, err)
	}
	appended(t, l, Entries(2, 5)...)
	wantEntries(t, scan(t, l, 0), 1, Entries(0, 5))
}

func made(t *testing.T, p Place) {
	if _, err := p.Open(t.Context(), Options(ours)); !errors.Is(err, ledger.ErrMissing) {
		t.Fatalf("Open of none = %v, want ErrMissing", err)
	}
	l := create(t, p, Entry(0))
	before := headOf(t, l)
	if _, err := p.Create(t.Context(), Options(ours)); !errors.Is(err, ledger.ErrExists) {
		t.Errorf("Create over one that is open = %v, want ErrExists", err)
	}
	if !p.Shared {
		if _, err := p.Open(t.Context(), Options(ours)); !errors.Is(err, ledger.ErrInUse) {
			t.Errorf("a second Open = %v, want ErrInUse", err)
		}
	}
	shut(t, l)
	if _, err := p.Create(t.Context(), Options(ours)); !errors.Is(err, ledger.ErrExists) {
		t.Errorf("Create over one = %v, want ErrExists", err)
	}
	if got := headOf(t, open(t, p, ours)); got != before {
		t.Errorf("Head = %+v, want %+v", got, before)
	}
}

func rotated(t *testing.T, p Place) {
	l := create(t, p, Entry(0))
	shut(t, l)
	l = open(t, p, "next", ours)
	appended(t, l, Entry(1))
	wantEntries(t, scan(t, l, 0), 1, Entries(0, 2))
	shut(t, l)
	if _, err := p.Open(t.Context(), Options(ours)); !errors.Is(err, ledger.ErrForged) {
		t.Errorf("Open without the key that signed last = %v, want ErrForged", err)
	}
	l = open(t, p, "next")
	if err := l.Scan(t.Context(), 0, func(ledger.Entry) error { return nil }); !errors.Is(err, ledger.ErrForged) {
		t.Errorf("Scan without the key that signed first = %v, want ErrForged", err)
	}
	shut(t, l)

	other := Options("next", ours)
	other.Tenant = "other"
	if l, err := p.Open(t.Context(), other); err == nil {
		shut(t, l)
		t.Error("a ledger opens for another tenant")
	}
	failing := Options(ours)
	failing.Keys = nil
	away := errors.New("the keys are away")
	failing.Keys = keysFail(away)
	if _, err := p.Open(t.Context(), failing); !errors.Is(err, away) || errors.Is(err, ledger.ErrForged) {
		t.Errorf("Open while nobody knows the keys = %v, want that error", err)
	}
}

func marks(t *testing.T, p Place) {
	l := create(t, p)
	heads := []ledger.Head{headOf(t, l)}
	for n := range 3 {
		heads = append(heads, appended(t, l, Entry(n)))
	}
	for _, mark := range heads {
		if err := ledger.Compare(t.Context(), l, mark); err != nil {
			t.Errorf("Compare with entry %d = %v", mark.Entries, err)
		}
		mark.Hash[31] ^= 1
		if err := ledger.Compare(t.Context(), l, mark); !errors.Is(err, ledger.ErrForged) {
			t.Errorf("Compare with another hash at entry %d = %v, want ErrForged", mark.Entries, err)
		}
		mark.Entries += 4
		if err := ledger.Compare(t.Context(), l, mark); !errors.Is(err, ledger.ErrTruncated) {
			t.Errorf("Compare with entry %d = %v, want ErrTruncated", mark.Entries, err)
		}
	}
}

func scanned(t *testing.T, p Place) {
	l := create(t, p, Entries(0, 3)...)
	var seen []ledger.Entry
	if err := l.Scan(t.Context(), 1, func(e ledger.Entry) error {
		seen = append(seen, e)
		_, err := l.Append(t.Context(), Entry(len(seen)+2)) // what is appended meanwhile is not seen, and waits for nothing
		return err
	}); err != nil {
		t.Fatalf("Scan: %v", err)
	}
	wantEntries(t, seen, 2, Entries(1, 3))
	enough := errors.New("enough")
	calls := 0
	if err := l.Scan(t.Context(), 0, func(ledger.Entry) error { calls++; return enough }); !errors.Is(err, enough) || calls != 1 {
		t.Errorf("Scan = %v after %d calls, want the error of the first", err, calls)
	}
	if err := l.Scan(t.Context(), 6, func(ledger.Entry) error { return nil }); !errors.Is(err, ledger.ErrTruncated) {
		t.Errorf("Scan after more than there is = %v, want ErrTruncated", err)
	}
	if got := scan(t, l, 5); len(got) != 0 {
		t.Errorf("%d entries after the last", len(got))
	}
}

func closed(t *testing.T, p Place) {
	l := create(t, p, Entry(0))
	shut(t, l)
	_, head := l.Head(t.Context())
	_, app := l.Append(t.Context(), Entry(1))
	_, _, find := l.Find(t.Context(), Entry(0).Ref)
	_, at := l.At(t.Context(), 0)
	scan := l.Scan(t.Context(), 0, func(ledger.Entry) error { return nil })
	for what, err := range map[string]error{"Head": head, "Append": app, "Find": find, "At": at, "Scan": scan} {
		if !errors.Is(err, ledger.ErrClosed) {
			t.Errorf("%s = %v, want ErrClosed", what, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Errorf("a second Close = %v", err)
	}
}
