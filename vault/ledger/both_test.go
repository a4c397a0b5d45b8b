package ledger_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/ledger/file"
	"github.com/sandyq/sandyq/vault/ledger/ledgertest"
)

// two are two directories for one ledger.
type two struct{ first, second string }

func (p two) with(ctx context.Context, o ledger.Options,
	open func(context.Context, string, ledger.Options) (*ledger.Book, error)) (ledger.Ledger, error) {
	a, err := open(ctx, p.first, o)
	if err != nil {
		return nil, err
	}
	b, err := open(ctx, p.second, o)
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return ledger.Both(a, b), nil
}

func (p two) place() ledgertest.Place {
	return ledgertest.Place{
		Create: func(ctx context.Context, o ledger.Options) (ledger.Ledger, error) { return p.with(ctx, o, file.Create) },
		Open:   func(ctx context.Context, o ledger.Options) (ledger.Ledger, error) { return p.with(ctx, o, file.Open) },
	}
}

func TestBothAreALedger(t *testing.T) {
	ledgertest.Run(t, func(t *testing.T) ledgertest.Place { return two{t.TempDir(), t.TempDir()}.place() })
}

func do(t *testing.T, l ledger.Ledger, err error, f func(ledger.Ledger)) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	f(l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func add(t *testing.T, from, until int) func(ledger.Ledger) {
	return func(l ledger.Ledger) {
		t.Helper()
		if _, err := l.Append(t.Context(), ledgertest.Entries(from, until)...); err != nil {
			t.Fatal(err)
		}
	}
}

// What a crash left in the first alone is carried over; what is in the second alone, or is another there, stops.
func TestBothAreCompared(t *testing.T) {
	o := ledgertest.Options("ours")
	alone := func(t *testing.T, dir string, f func(ledger.Ledger)) {
		t.Helper()
		l, err := file.Open(t.Context(), dir, o)
		do(t, l, err, f)
	}
	for name, c := range map[string]struct {
		alone func(t *testing.T, p two)
		want  error
	}{
		"the second is behind": {func(t *testing.T, p two) { alone(t, p.first, add(t, 3, 5)) }, nil},
		"the first is behind":  {func(t *testing.T, p two) { alone(t, p.second, add(t, 3, 5)) }, ledger.ErrTruncated},
		"they differ": {func(t *testing.T, p two) {
			alone(t, p.first, add(t, 3, 4))
			alone(t, p.second, add(t, 4, 5))
		}, ledger.ErrForged},
		"the second is gone": {func(t *testing.T, p two) {
			if err := os.RemoveAll(p.second); err != nil {
				t.Fatal(err)
			}
		}, ledger.ErrMissing},
	} {
		t.Run(name, func(t *testing.T) {
			p := two{t.TempDir(), t.TempDir()}
			l, err := p.place().Create(t.Context(), o)
			do(t, l, err, add(t, 0, 3))
			c.alone(t, p)
			if l, err = p.place().Open(t.Context(), o); err == nil {
				defer l.Close()
				_, err = l.Head(t.Context())
			}
			if !errors.Is(err, c.want) {
				t.Fatalf("Head = %v, want %v", err, c.want)
			}
			if c.want != nil {
				return
			}
			add(t, 0, 6)(l)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			alone(t, p.second, func(l ledger.Ledger) {
				next := 0
				if err := l.Scan(t.Context(), 0, func(e ledger.Entry) error {
					if e.Ref != ledgertest.Entry(next).Ref {
						t.Errorf("entry %d is %s", e.Number, e.Ref)
					}
					next++
					return nil
				}); err != nil || next != 6 {
					t.Errorf("the second has %d entries (%v), want 6", next, err)
				}
			})
		})
	}
}
