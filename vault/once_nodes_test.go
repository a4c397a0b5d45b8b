package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

// A caller whom a node does not answer asks another under the same idempotency key. The first node, when it goes on, does nothing
// that would undo what came after the answer, says that another call came, and answers the key from then on as the other did.
func TestOfTwoTriesOneComesToSomething(t *testing.T) {
	all := nodes(t, 2)
	first, other := all[0], all[1]
	register(t, first.Vault, keyed(app(first.Vault), "makes the key of the day"), fields{"given_name": text("Дана")})
	dispute := &api.BlockRequest{Kind: "dispute", Reason: "asked"}
	corrected := func(t *testing.T, n *node, call vault.Call, ctx context.Context, subject, name string) (string, error) {
		t.Helper()
		resp, err := n.Rectify(ctx, call, subject, &api.RectifyRequest{
			Purpose: "registration", Evidence: api.Evidence{Kind: "application", Ref: "A-17"}, Fields: fields{"given_name": text(name)},
		})
		if err != nil {
			return "", err
		}
		return resp.Tokens["given_name"].Items[0], nil
	}
	wantName := func(t *testing.T, who *api.TokenizeResult, name string) {
		t.Helper()
		var got api.DetokenizeResult
		eventually(t, "everybody has heard of the block that is no more", func() bool {
			got = detokenize(t, other.Vault, app(other.Vault), api.Plain, who.Tokens["given_name"].Items[0])[0]
			return got.Error == nil || got.Error.Code != fault.Unavailable
		})
		wantItem(t, got.Error, "")
		wantText(t, got.Value, name)
	}
	for name, c := range map[string]struct {
		do    func(t *testing.T, n *node, ctx context.Context, call vault.Call, subject string) (string, error)
		after func(t *testing.T, n *node, shop vault.Call, subject string) // the answer: it undoes what was done
		holds func(t *testing.T, who *api.TokenizeResult)
	}{
		"rectify": {
			func(t *testing.T, n *node, ctx context.Context, call vault.Call, subject string) (string, error) {
				return corrected(t, n, call, ctx, subject, "Айгерим")
			},
			func(t *testing.T, n *node, shop vault.Call, subject string) {
				patiently(t, n.Vault, func() (string, error) { return corrected(t, n, shop, ctx, subject, "Айжан") })
			},
			func(t *testing.T, who *api.TokenizeResult) { wantName(t, who, "Айжан") },
		},
		"tokenize": {
			func(t *testing.T, n *node, ctx context.Context, call vault.Call, subject string) (string, error) {
				resp, err := n.Tokenize(ctx, call, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{
					{Subject: subject, Fields: fields{"family_name": text("Оспанова")}},
				}})
				if err == nil {
					err = resp.Results[0].Error.Err()
				}
				if err != nil {
					return "", err
				}
				return resp.Results[0].Tokens["family_name"].Items[0], nil
			},
			func(t *testing.T, n *node, shop vault.Call, subject string) {
				patiently(t, n.Vault, func() (*api.RectifyResponse, error) {
					return n.Rectify(ctx, shop, subject, &api.RectifyRequest{
						Purpose: "registration", Evidence: api.Evidence{Kind: "application", Ref: "A-17"}, Fields: fields{"family_name": text("Серикова")},
					})
				})
			},
			func(t *testing.T, who *api.TokenizeResult) { wantName(t, who, "Айгүл") },
		},
		"block": {
			func(t *testing.T, n *node, ctx context.Context, call vault.Call, subject string) (string, error) {
				s, err := n.Block(ctx, call, subject, dispute)
				if err != nil {
					return "", err
				}
				return s.Subject, nil
			},
			func(t *testing.T, n *node, shop vault.Call, subject string) {
				shop = keyed(shop, "unblock "+subject) // so that it may be asked again
				patiently(t, n.Vault, func() (*api.Subject, error) { return n.Unblock(ctx, shop, subject, dispute) })
			},
			func(t *testing.T, who *api.TokenizeResult) { wantName(t, who, "Айгүл") },
		},
		"erasure": {
			func(t *testing.T, n *node, ctx context.Context, call vault.Call, subject string) (string, error) {
				e, err := n.RequestErasure(ctx, call, &api.ErasureRequest{Subject: subject, Ground: "request", Reason: "asked"})
				if err != nil {
					return "", err
				}
				return e.Erasure, nil
			},
			func(*testing.T, *node, vault.Call, string) {},
			func(*testing.T, *api.TokenizeResult) {},
		},
	} {
		t.Run(name, func(t *testing.T) {
			shop := app(first.Vault)
			var who api.TokenizeResult
			var call vault.Call
			var answered string
			patiently(t, first.Vault, func() (struct{}, error) {
				answered, who = "", register(t, other.Vault, shop, fields{"given_name": text("Айгүл")})
				call = keyed(shop, name+who.Subject)
				var begun sync.Once // its first Update: the key is noted
				held := context.WithValue(ctx, afterwards{}, func() {
					begun.Do(func() {
						answered = patiently(t, other.Vault, func() (string, error) { return c.do(t, other, ctx, call, who.Subject) })
						c.after(t, other, shop, who.Subject)
					})
				})
				_, err := c.do(t, first, held, call, who.Subject)
				if answered != "" {
					c.holds(t, &who)
				}
				if errors.Is(err, fault.Unavailable) { // it has lapsed, and would not have answered anyway
					return struct{}{}, err
				}
				if f := fault.From(err); !errors.Is(err, fault.Conflict) || f.RetryAfter == 0 {
					t.Errorf("the first try: %v, want a conflict with a time to wait", err)
				}
				return struct{}{}, nil
			})
			for _, n := range all {
				if again := patiently(t, n.Vault, func() (string, error) { return c.do(t, n, ctx, call, who.Subject) }); again != answered {
					t.Errorf("once more: %q, where it was answered %q", again, answered)
				}
			}
			c.holds(t, &who)
		})
	}
}

// lapsing is a store after whose reading of where the key of idempotency rows is the node lapses, once it is armed.
type lapsing struct {
	store.Store
	name  string // of that key
	armed atomic.Bool
	lapse func()
}

func (l *lapsing) View(ctx context.Context, f func(store.Reader) error) error {
	named := false
	err := l.Store.View(ctx, func(r store.Reader) error { return f(onceSpy{r, l.name, &named}) })
	if named && l.armed.CompareAndSwap(true, false) {
		l.lapse()
	}
	return err
}

// onceSpy notes that the name of such a key is asked for.
type onceSpy struct {
	store.Reader
	name  string
	named *bool
}

func (s onceSpy) Get(keys ...[]byte) ([][]byte, error) {
	*s.named = *s.named || slices.ContainsFunc(keys, func(key []byte) bool { return bytes.Contains(key, []byte(s.name)) })
	return s.Reader.Get(keys...)
}

// A node that lapses while it looks its idempotency key up, and so forgets its open keys, does nothing unremembered: a retry elsewhere
// answers as the first try would have.
func TestWhoForgetsItsKeysDoesNothingUnremembered(t *testing.T) {
	spy := &lapsing{}
	all := nodesOf(t, 2, func(i int, o *vault.Options) {
		if i == 0 {
			spy.Store, o.Store = o.Store, spy
		}
	})
	shop := app(all[0].Vault)
	who := register(t, all[0].Vault, keyed(shop, "makes the key of the day"), fields{"given_name": text("Айгүл")})
	block(t, all[1], shop, who.Subject)
	dispute := &api.BlockRequest{Kind: "dispute", Reason: "asked"}
	spy.name = fmt.Sprint("once-", all[0].Clock.Now().Unix()/86400)
	spy.lapse = func() {
		all[0].Clock.Advance(2 * nodeTerm)
		eventually(t, "it is one of the nodes", func() bool {
			_, err := all[0].Subject(ctx, shop, who.Subject)
			return err == nil
		})
	}
	spy.armed.Store(true)
	call := keyed(shop, "unblock")
	if _, err := all[0].Unblock(ctx, call, who.Subject, dispute); !errors.Is(err, fault.Unavailable) {
		t.Errorf("the node that lapsed: %v", err)
	}
	if spy.armed.Load() {
		t.Fatal("it did not lapse: this shows nothing")
	}
	patiently(t, all[1].Vault, func() (*api.Subject, error) { return all[1].Unblock(ctx, call, who.Subject, dispute) })
}
