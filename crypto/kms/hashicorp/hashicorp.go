// Package hashicorp keeps subject keys in HashiCorp Vault. It is the only package that imports Vault's SDK.
//
// # Model
//
// Three mounts, named after one ([Config.Mount], here sandyq), which [Setup] makes:
//
//	sandyq             KV version 1
//	  keys/<id>        {"v":1,"key":"vault:v1:…"}: the subject key wrapped by wrap-<tenant>; write-once
//	  sentinel         {"v":1,"sentinel":"<64 hexadecimal digits>"}: made at set-up, never written again
//	sandyq-transit     Transit; nothing in it can be exported, backed up in the clear or deleted
//	  wrap-<tenant>    aes256-gcm96: wraps subject keys, with (tenant, id) as associated data
//	  index-<tenant>   hmac: answers MAC, always with version 1 of the key
//	  log-<tenant>     ed25519: signs; RotateSigning adds a version
//	sandyq-generation  KV version 2, check-and-set required
//	  generation       {"instance":"<id>"}; its version is the generation's number
//	  mark             {"v":1,"entries":"12","head":"<64 hexadecimal digits>"}: what SetMark wrote
//
// Whoever reads KV has ciphertext without the Transit key; whoever may use Transit has nothing to give it.
//
// # Write-once
//
// The policies in deploy/hashicorp-vault grant create, read and delete on keys/+, and not update, so Vault refuses to
// overwrite a key. It looks whether the entry exists and writes it in two steps, so two racing writes of one id could
// both pass. Ids are random and each is made by one call, so nobody races; calls in one process are kept apart all the
// same. A token that may overwrite (a root token, say) is refused at login, and with [Config.EraseAuth] one that serves
// and may delete. Generation and mark, for which nodes do
// race, are in KV version 2, whose check-and-set Vault does under a lock.
//
// # Invariants
//
//   - Only Vault's own 404 with an empty error list says that an entry is absent. A missing mount, a proxy's page, a
//     denial and a sealed server do not.
//   - Destroyed means: sentinel and generation as claimed, entry deleted, entry answers absent, sentinel and generation
//     as claimed again.
//   - Creating is never retried once the request may have arrived.
//   - A call gives up when fifty keys, or five hundred MACs, take longer than [Config.Timeout]. A server that failed twice
//     running is asked again only every half second, and meanwhile calls fail at once.
//   - Of a cluster's addresses one is used until it fails; a request is sent to one node (see cluster.go).
//   - Of Create, Open and MAC sixty-four at most are under way, and of their KV requests forty-eight an identity, so that
//     sixteen connections are left for Transit, for signing and for the title. One call more fails at once and has sent
//     nothing.
//   - Errors hold statuses, ids and paths; never a token, a key, or text that a server chose.
package hashicorp

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/sandyq/sandyq/crypto/kms"
)

// Vault is a provider over HashiCorp Vault for one tenant. It is safe for concurrent use.
type Vault struct {
	names names
	serve *conn // creates, opens, computes MACs, signs
	erase *conn // destroys, advances, sets the mark, rotates; the same as serve unless Config.EraseAuth is given

	stop   context.CancelFunc
	ending context.Context // ends with Close

	room chan struct{} // holds a value for each call that people's requests have under way

	mu       sync.Mutex
	closed   bool
	calls    sync.WaitGroup // added to under mu while not closed
	creating map[kms.ID]struct{}
}

var _ kms.Provider = (*Vault)(nil)

// Open makes a provider. It fails only on a configuration that cannot work: a server that is away now is found when it is
// back. Logging in happens in the background, which Close ends.
func Open(c Config) (*Vault, error) {
	v, err := open(c)
	if err != nil {
		return nil, fmt.Errorf("hashicorp: open: %w", err)
	}
	return v, nil
}

func open(c Config) (*Vault, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	n := names{c.Mount, c.Tenant}
	ending, stop := context.WithCancel(context.Background())
	v := &Vault{names: n, ending: ending, stop: stop, room: make(chan struct{}, calls), creating: map[kms.ID]struct{}{}}
	if v.serve, err = newConn(ending, c, &identity{Auth: c.Auth, spares: c.EraseAuth != nil}, n); err != nil {
		stop()
		return nil, err
	}
	v.erase = v.serve
	if c.EraseAuth != nil {
		if v.erase, err = newConn(ending, c, &identity{Auth: *c.EraseAuth}, n); err != nil {
			return nil, errors.Join(err, v.Close())
		}
	}
	return v, nil
}

// Close cuts off the calls under way and waits for them and for the background.
func (v *Vault) Close() error {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.stop()
	v.calls.Wait()
	v.serve.wait()
	if v.erase != nil {
		v.erase.wait()
	}
	return nil
}

// begin admits a call unless the provider is closed or ctx has ended. Its context also ends with Close.
func (v *Vault) begin(ctx context.Context) (_ context.Context, end func(), err error) {
	if err := ended(ctx); err != nil {
		return nil, nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil, nil, errClosed
	}
	v.calls.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	release := context.AfterFunc(v.ending, func() { cancel(errClosed) })
	return ctx, func() { release(); cancel(nil); v.calls.Done() }, nil
}

// calls is how many of Create, Open and MAC are under way at most. So many keep every connection busy for about a timeout,
// and one more would wait for its own and be late.
const calls = 64

var errBusy = fmt.Errorf("%w: too many calls are under way", kms.ErrUnavailable)

// beginShed is begin for Create, Open and MAC, whose number people's requests decide: beyond calls of them it refuses at
// once, before anything is sent. What the vault does by itself (destroying, signing, its title) is never refused so.
func (v *Vault) beginShed(ctx context.Context) (_ context.Context, end func(), err error) {
	select {
	case v.room <- struct{}{}:
	default:
		return nil, nil, errBusy
	}
	ctx, finish, err := v.begin(ctx)
	if err != nil {
		<-v.room
		return nil, nil, err
	}
	return ctx, func() { finish(); <-v.room }, nil
}

// Health reports whether keys can be had: it reads the sentinel and computes a MAC. It fails at once
// while the server is known to be away.
func (v *Vault) Health(ctx context.Context) error {
	if _, err := v.Sentinel(ctx); err != nil {
		return err
	}
	_, err := v.MAC(ctx, nil)
	return err
}
