package vault_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/backup"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// TestEverySnapshotOpensForItsRecipients: what a repository has is encrypted to the recipients of that day, so a snapshot for
// others must not rest on it.
func TestEverySnapshotOpensForItsRecipients(t *testing.T) {
	v, s := vaulttest.New(t), newSafe(t)
	many(t, v, app(v), 20)
	s.mustTake(t, v)
	next := newSafe(t)
	was := s.recipient
	s.recipient, s.identities = next.recipient, next.identities
	made, err := s.take(t, v, 1<<40)
	if err == nil {
		if err := must[*backup.Snapshot](t)(s.open(t, s.dir, made.ID)).Check(ctx, nil); err != nil {
			t.Errorf("a backup was taken that its recipient cannot restore: %v", err)
		}
	}
	if !errors.Is(err, backup.ErrRecipients) {
		t.Errorf("other recipients in the same repository: %v", err)
	}
	config := must[[]byte](t)(os.ReadFile(filepath.Join(s.dir, "config")))
	if bytes.Contains(config, []byte(was)) {
		t.Error("the repository tells whom it is encrypted to: whoever writes there could put a snapshot of their own")
	}
}

// TestADamagedObjectIsSentAgain: what is damaged is named, and once it is removed the next backup is whole.
func TestADamagedObjectIsSentAgain(t *testing.T) {
	v, s := vaulttest.New(t), newSafe(t)
	who := register(t, v, app(v), aigul())
	many(t, v, app(v), 20)
	must[*api.Document](t)(v.PutDocument(ctx, app(v), upload(who.Subject, jpeg(5000))))
	latest := s.mustTake(t, v)
	for _, of := range []string{"chunks", "blobs"} {
		object := must[[]string](t)(filepath.Glob(filepath.Join(s.dir, of, "*", "*")))[0]
		if err := os.WriteFile(object, []byte("rot"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := must[*backup.Snapshot](t)(s.open(t, s.dir, latest.Header.ID)).Check(ctx, nil)
		if !errors.Is(err, backup.ErrDamaged) || !strings.Contains(err.Error(), filepath.Base(object)) {
			t.Fatalf("%s: %v", object, err)
		}
		if err := os.Remove(object); err != nil {
			t.Fatal(err)
		}
		latest = s.mustTake(t, v)
		if err := must[*backup.Snapshot](t)(s.open(t, s.dir, latest.Header.ID)).Check(ctx, nil); err != nil {
			t.Errorf("after the damaged object of %s was removed: %v", of, err)
		}
	}
}

// TestABackupOverAnErasureIsSound: a document that an erasure removes while a backup runs is not in it, and that is no fault.
func TestABackupOverAnErasureIsSound(t *testing.T) {
	v, s := vaulttest.New(t), newSafe(t)
	shop := app(v)
	who := register(t, v, shop, aigul())
	many(t, v, shop, 30)
	must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who.Subject, jpeg(5000))))
	made := must[taken](t)(s.takeThrough(t, v, func(w io.Writer) io.Writer {
		return &between{w, func() { erased(t, v, shop, eraseSlices(t, v, shop, who.Subject, "documents").Erasure) }}
	}))
	if made.Header.Gone != 1 || made.Header.Lost != 0 {
		t.Fatalf("%d blobs were removed and %d lost", made.Header.Gone, made.Header.Lost)
	}
	restored, census := s.restore(t, v, made.ID)
	if census.Faults != 0 || census.Missing != 1 {
		t.Errorf("%+v", census)
	}
	restored.Stop()
}

// TestARecipientIsOneWord: what else a recipient's text could hold would come into the log and the manifest.
func TestARecipientIsOneWord(t *testing.T) {
	s := newSafe(t)
	for _, text := range []string{"# Айгүл 850312113646\n" + s.recipient, s.recipient + "\n", " " + s.recipient} {
		if _, err := backup.ParseRecipients([]string{text}); err == nil {
			t.Errorf("%q is a recipient", text)
		}
	}
}

// between does something before the first object goes out: the state of the rows is fixed by then.
type between struct {
	w  io.Writer
	do func()
}

func (b *between) Write(p []byte) (int, error) {
	if do := b.do; p[0] == 'd' && do != nil {
		b.do = nil
		do()
	}
	return b.w.Write(p)
}

// TestWhatARestoreBringsBack holds what docs/backups.md and sandyq restore say of it: what was taken back since the backup is
// good again, and what goes on of itself does no harm.
func TestWhatARestoreBringsBack(t *testing.T) {
	enforced := vaulttest.With(func(o *vault.Options) { o.Consents = vault.ConsentsEnforced })
	v, s := vaulttest.New(t, enforced), newSafe(t)
	shop, bank, root := app(v), v.As("bank", access.Application), administrator(v)
	who := tokenize1(t, v, shop, api.TokenizeItem{Fields: aigul(), Consent: consentTo(v, "registration")})
	service := record(t, v, shop, who.Subject, consentTo(v, "service", "contract"))
	other := tokenize1(t, v, shop, api.TokenizeItem{Fields: fields{"given_name": text("Бекзат")}, Consent: consentTo(v, "registration", "service")})
	token, blocked := who.Tokens["iin"].Items[0], other.Tokens["given_name"].Items[0]
	lifted := &api.BlockRequest{Kind: "dispute", Reason: "asked"}
	must[*api.Subject](t)(v.Block(ctx, shop, other.Subject, lifted))
	given := must[*api.ServiceToken](t)(v.CreateServiceToken(ctx, root, &api.CreateServiceTokenRequest{System: "partner", Role: "application"}))
	handoff := handOff(t, v, shop, who.Subject, "bank", "given_name")
	retried := vault.Call{Principal: shop.Principal, RequestID: "again", Key: "one-registration", Body: []byte("the same")}
	aisha := api.TokenizeItem{Fields: fields{"given_name": text("Айша")}, Consent: consentTo(v, "registration")}
	first := tokenize1(t, v, retried, aisha)
	made := s.mustTake(t, v)

	withdraw(t, v, shop, who.Subject, service)
	wantItem(t, readFor(t, v, shop, "service", token), fault.Denied)
	must[*api.Subject](t)(v.Unblock(ctx, shop, other.Subject, lifted))
	must[*api.ServiceToken](t)(v.RevokeServiceToken(ctx, root, given.ID))
	retired := who.Tokens["phone"].Items[0]
	must[*api.RevokeResponse](t)(v.RevokeTokens(ctx, shop, &api.TokensRequest{Tokens: []string{retired}}))

	restored, _ := s.restore(t, v, made.ID, enforced)
	if err := restored.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the ledger is compared", func() bool { return len(restored.Ready(ctx).Degraded) == 0 })
	wantItem(t, readFor(t, restored, shop, "service", token), "")   // a withdrawn consent stands again
	wantItem(t, readFor(t, restored, shop, "service", retired), "") // so does a retired token
	wantItem(t, readFor(t, restored, shop, "service", blocked), fault.Blocked)
	if _, err := restored.Authenticate(ctx, vault.Presented{Bearer: given.Secret}); err != nil {
		t.Errorf("a service token that was revoked since is no longer as the page says: %v", err)
	}
	_, err := redeem(restored, bank, handoff)
	wantCode(t, err, fault.NotFound)
	again := tokenize1(t, restored, retried, aisha)
	if again.Subject != first.Subject {
		t.Error("a retry of what the backup has registered somebody twice")
	}
}
