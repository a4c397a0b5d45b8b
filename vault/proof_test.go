package vault_test

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

func proofOf(v *vaulttest.Vault, receipt string) (*api.ConsentProof, error) {
	return v.ConsentProof(ctx, v.As("dpo", access.PrivacyOfficer), &api.ProofRequest{Receipt: receipt})
}

// TestProofOutlivesThePerson: after the erasure the receipt still finds what was consented to; nothing that is left leads
// from the person to the proof, or back.
func TestProofOutlivesThePerson(t *testing.T) {
	v := consents(t, vault.ConsentsEnforced, "")
	shop, dpo := app(v), v.As("dpo", access.PrivacyOfficer)
	req := consentTo(v, "registration")
	req.Evidence, req.GivenBy = "form 4711", &api.GivenBy{Kind: "representative", Evidence: "power 8"}
	made := tokenize1(t, v, shop, api.TokenizeItem{Fields: aigul(), Consent: req})
	wantItem(t, made.Error, "")
	stopped := record(t, v, shop, made.Subject, consentTo(v, "service"))
	withdraw(t, v, shop, made.Subject, stopped)
	subject := idAcross(t, v, dpo)
	before := must[*api.ConsentProof](t)(proofOf(v, made.Consent.Receipt))

	dry := must[*api.Erasure](t)(v.RequestErasure(ctx, shop, &api.ErasureRequest{Subject: made.Subject, Ground: "request", Reason: "asked", DryRun: true}))
	e := erase(t, v, shop, made.Subject)
	for _, kept := range [][]api.Kept{dry.Kept, e.Kept} {
		if len(kept) != 1 || kept[0].Count != 2 || kept[0].Citation != "proof of consent" || !kept[0].Until.After(v.Clock.Now().AddDate(5, 0, 0)) {
			t.Errorf("%+v", kept)
		}
	}
	erased(t, v, shop, e.Erasure)
	v.Restart()

	after := must[*api.ConsentProof](t)(proofOf(v, made.Consent.Receipt))
	if after.Text != textBuiltIn || after.SHA256 != made.Consent.SHA256 || !slices.Equal(after.Purposes, []string{"registration"}) ||
		!after.GivenAt.Equal(before.GivenAt) || after.GivenBy != "representative" || after.RecordedBy != "shop" || !after.WithdrawnAt.IsZero() {
		t.Errorf("%+v", after)
	}
	if gone := must[*api.ConsentProof](t)(proofOf(v, stopped.Receipt)); gone.WithdrawnAt.IsZero() {
		t.Errorf("%+v", gone)
	}
	for _, unknown := range []string{"", "rcp_", "x", "rcp_00000000000000000000000000", made.Consent.Consent, strings.ToUpper(stopped.Receipt)} {
		_, err := proofOf(v, unknown)
		wantCode(t, err, fault.NotFound)
	}
	_, err := v.ConsentProof(ctx, v.As("desk", access.Support), &api.ProofRequest{Receipt: stopped.Receipt})
	wantCode(t, err, fault.Denied)
	untied(t, v, subject, made.Consent, stopped)
}

// idAcross is the only person's id across the vault.
func idAcross(t *testing.T, v *vaulttest.Vault, dpo vault.Call) string {
	t.Helper()
	return must[*api.SearchResponse](t)(v.Search(ctx, dpo, &api.SearchRequest{
		Purpose: "registration", Reason: "check", Field: "iin", Value: api.Text(iinA),
	})).Results[0].Subject
}

// untied demands that the rows of an erased person and those of the proofs have nothing in common.
func untied(t *testing.T, v *vaulttest.Vault, subject string, consents ...*api.Consent) {
	t.Helper()
	who := raw16(t, "sub_", subject)
	of := func(kind byte) string {
		return map[byte]string{'s': "subject", 'b': "entries of", 'a': "entry", 'e': "erasure", 'F': "certificate", 'y': "once"}[kind]
	}
	var receipts [][]byte
	for _, c := range consents {
		receipts = append(receipts, raw16(t, "rcp_", c.Receipt))
	}
	var keys, ends [][]byte // of proofs
	for _, p := range must[[]store.Pair](t)(rows(v.Store)) {
		kind := kindOf(p.Key)
		if kind == 'P' {
			keys = append(keys, member[[]byte](p.Value, 1))
			ends = append(ends, p.Key)
		}
		if kind == 'K' || kind == 'O' {
			t.Errorf("a row of the kind %c is left", kind)
		}
		if both := append(bytes.Clone(p.Key), p.Value...); bytes.Contains(both, who) || bytes.Contains(both, []byte(subject)) {
			if of(kind) == "" {
				t.Errorf("a row of the kind %c names the person", kind)
			}
			for i, receipt := range receipts {
				if bytes.Contains(both, receipt) || bytes.Contains(both, []byte(consents[i].Receipt)) {
					t.Errorf("a row of the kind %c names the person and a receipt", kind)
				}
			}
		} else if kind != 'P' && kind != 'D' {
			for i, receipt := range receipts {
				if bytes.Contains(both, receipt) || bytes.Contains(both, []byte(consents[i].Receipt)) {
					t.Errorf("a row of the kind %c names a receipt", kind)
				}
			}
		}
	}
	if len(ends) != len(consents) {
		t.Errorf("%d proofs are left of %d", len(ends), len(consents))
	}
	for _, p := range must[[]store.Pair](t)(rows(v.Store)) {
		for _, key := range keys {
			if kindOf(p.Key) != 'P' && bytes.Contains(append(bytes.Clone(p.Key), p.Value...), key) {
				t.Errorf("a row of the kind %c names the key of a proof", kindOf(p.Key))
			}
		}
	}
}

func raw16(t *testing.T, prefix, text string) []byte {
	t.Helper()
	b := must[[16]byte](t)(id.Decode(prefix, text))
	return b[:]
}

// TestProofEnds: the key of a proof is destroyed when its term is over: counted from the end of the consent, and of one
// without an end from the request for the erasure; while a consent stands it stays.
func TestProofEnds(t *testing.T) {
	v := consents(t, vault.ConsentsObserved, "", vaulttest.With(func(o *vault.Options) { o.ProofYears = 1 }))
	shop := app(v)
	who := register(t, v, shop, aigul())
	leaves := register(t, v, shop, fields{"iin": text(iinB)})
	term := consentTo(v, "service")
	term.ExpiresAt = v.Clock.Now().AddDate(1, 0, 0)
	short, stands := record(t, v, shop, who.Subject, term), record(t, v, shop, who.Subject, consentTo(v, "service"))
	withdrawn := record(t, v, shop, who.Subject, consentTo(v, "notices"))
	withdraw(t, v, shop, who.Subject, withdrawn)
	open := record(t, v, shop, leaves.Subject, consentTo(v, "service"))
	erased(t, v, shop, erase(t, v, shop, leaves.Subject).Erasure)
	keys := len(keyFiles(t, v))
	there := func(c *api.Consent) bool {
		_, err := proofOf(v, c.Receipt)
		if err != nil {
			wantCode(t, err, fault.NotFound)
		}
		return err == nil
	}
	const month = 31 * 24 * time.Hour
	for _, step := range []struct {
		by   time.Duration
		left []*api.Consent
		gone []*api.Consent
	}{
		{365*24*time.Hour - time.Hour, []*api.Consent{short, stands, withdrawn, open}, nil},
		{month + 2*time.Hour, []*api.Consent{short, stands}, []*api.Consent{withdrawn, open}},
		{366*24*time.Hour + month, []*api.Consent{stands}, []*api.Consent{short}},
		{20 * 366 * 24 * time.Hour, []*api.Consent{stands}, nil},
	} {
		v.Clock.Advance(step.by)
		v.Restart() // leases, pools and the like do not outlive years
		for _, c := range step.left {
			if !there(c) {
				t.Errorf("after %s a proof is gone that ought to stay", step.by)
			}
		}
		for _, c := range step.gone {
			if there(c) {
				t.Errorf("after %s a proof is there that ought to be gone", step.by)
			}
		}
		keys -= len(step.gone)
		eventually(t, "the keys of the proofs are destroyed", func() bool { return len(keyFiles(t, v)) <= keys })
	}
	left := 0
	for _, p := range must[[]store.Pair](t)(rows(v.Store)) {
		if k := kindOf(p.Key); k == 'P' || k == 'D' || k == 'O' {
			left++
		}
	}
	if left != 1 {
		t.Errorf("%d rows of proofs are left, want the one that stands", left)
	}
}

// TestWithdrawalWhileKeysAreAway: a withdrawal needs no keys; the proof tells of it once they are back.
func TestWithdrawalWhileKeysAreAway(t *testing.T) {
	t.Parallel()
	server := vaultserver.Start(t)
	v := consents(t, vault.ConsentsEnforced, "", withKeys(keysIn(t, server)), vaulttest.With(func(o *vault.Options) { o.Keyring.Lease = 4 * time.Minute }))
	ready(t, v)
	shop, dpo := app(v), v.As("dpo", access.PrivacyOfficer)
	made := tokenize1(t, v, shop, api.TokenizeItem{Fields: aigul(), Consent: consentTo(v, "registration")})
	wantItem(t, made.Error, "")
	req := consentTo(v, "service")
	req.Evidence = "form 1"
	c := record(t, v, shop, made.Subject, req)
	token := made.Tokens["iin"].Items[0]
	wantItem(t, readFor(t, v, shop, "service", token), "")
	server.Seal(t)
	soon(t, "withdraw", func() {
		if got := withdraw(t, v, shop, made.Subject, c); !slices.Equal(got.Stopped, []string{"service"}) {
			t.Errorf("%+v", got)
		}
	})
	wantItem(t, readFor(t, v, shop, "service", token), fault.Denied)
	soon(t, "list", func() {
		for _, got := range must[*api.Page[api.Consent]](t)(v.ListConsents(ctx, shop, made.Subject)).Items {
			if got.Consent == c.Consent && (got.State != api.ConsentWithdrawn || !got.Unavailable || got.Evidence != "") {
				t.Errorf("%+v", got)
			}
		}
	})
	soon(t, "withdraw with a note", func() {
		_, err := v.WithdrawConsent(ctx, shop, made.Subject, made.Consent.Consent, &api.WithdrawRequest{Note: "by phone"})
		wantCode(t, err, fault.Unavailable)
	})
	soon(t, "record", func() {
		req.GivenAt = v.Clock.Now()
		_, err := v.RecordConsent(ctx, shop, made.Subject, req)
		wantCode(t, err, fault.Unavailable)
	})
	server.Unseal(t)
	eventually(t, "the proof tells of the withdrawal", func() bool {
		p, err := v.ConsentProof(ctx, dpo, &api.ProofRequest{Receipt: c.Receipt})
		return err == nil && !p.WithdrawnAt.IsZero() && !outdated(t, v)
	})
	p := must[*api.ConsentProof](t)(v.ConsentProof(ctx, dpo, &api.ProofRequest{Receipt: c.Receipt}))
	if p.WithdrawnAt.IsZero() {
		t.Errorf("%+v", p)
	}
}

// outdated reports that a proof lacks a withdrawal.
func outdated(t *testing.T, v *vaulttest.Vault) bool {
	return slices.ContainsFunc(must[[]store.Pair](t)(rows(v.Store)), func(p store.Pair) bool { return kindOf(p.Key) == 'O' })
}

// TestProofIsRecordedWithoutWhose: the log says that a proof was shown or not found, and not which.
func TestProofIsRecordedWithoutWhose(t *testing.T) {
	v := consents(t, vault.ConsentsObserved, "")
	shop := app(v)
	who := register(t, v, shop, aigul())
	c := record(t, v, shop, who.Subject, consentTo(v, "service"))
	must[*api.ConsentProof](t)(proofOf(v, c.Receipt))
	_, err := proofOf(v, "rcp_00000000000000000000000000")
	wantCode(t, err, fault.NotFound)
	all := logged(t, v, "consent.proof")
	if len(all) != 2 || all[0].Decision != audit.Allow || all[1].Decision != audit.Deny || all[0].Subject != "" || all[0].Objects != nil {
		t.Errorf("%+v", all)
	}
}

// TestWithdrawalShutsReadingsInFlight: a reading was permitted and waits for its key when the consent is withdrawn. The key
// comes after the acknowledgement, and the reading gets nothing.
func TestWithdrawalShutsReadingsInFlight(t *testing.T) {
	home := inMemory(t)
	keys := must[kms.Provider](t)(vaulttest.Keyring(filepath.Join(home, "keyring")))
	defer keys.Close()
	slow := &slowKeys{Provider: keys}
	enforce := vaulttest.With(func(o *vault.Options) { o.Keys, o.Consents = slow, vault.ConsentsEnforced })
	v := vaulttest.At(t, home, enforce)
	shop := app(v)
	made := tokenize1(t, v, shop, api.TokenizeItem{Fields: aigul(), Consent: consentTo(v, "registration", "service")})
	wantItem(t, made.Error, "")
	slow.slow, slow.asked, slow.answer = keysOfTenant(t, v), make(chan struct{}), make(chan struct{})
	v.Stop() // so that the keys are cold
	v = vaulttest.At(t, home, enforce)
	var refused *api.ItemError
	var reading sync.WaitGroup
	reading.Go(func() { refused = readFor(t, v, shop, "service", made.Tokens["iin"].Items[0]) })
	<-slow.asked
	withdraw(t, v, shop, made.Subject, made.Consent)
	close(slow.answer)
	reading.Wait()
	wantItem(t, refused, fault.Unavailable)
}

// TestNothingIsReadAfterTheWithdrawal reads people while their consent is withdrawn and given over and over: no reading that
// begins after an acknowledgement gets anything.
func TestNothingIsReadAfterTheWithdrawal(t *testing.T) {
	v := consents(t, vault.ConsentsEnforced, "")
	shop := app(v)
	made := tokenize1(t, v, shop, api.TokenizeItem{Fields: aigul(), Consent: consentTo(v, "registration")})
	wantItem(t, made.Error, "")
	w := &watched{Vault: v, shop: shop, subject: made.Subject, iin: made.Tokens["iin"].Items[0]}
	w.shut.Add(1)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for _, way := range waysToRead[:2] {
		for range 2 {
			readers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						w.during(t, way.name, func() (int, error) {
							n, err := way.read(w)
							if fault.CodeOf(err) == fault.Denied {
								err = nil
							}
							return n, err
						})
					}
				}
			})
		}
	}
	let := func(enough func() bool) {
		for range 2000 {
			if enough() {
				return
			}
			time.Sleep(100 * time.Microsecond)
		}
	}
	for range 30 {
		before := w.shut.Add(1)
		given := record(t, v, shop, made.Subject, consentTo(v, "service"))
		some := w.given.Load()
		let(func() bool { return w.given.Load() > some+2 })
		withdraw(t, v, shop, made.Subject, given)
		w.shut.Store(before + 1)
		began := w.began.Load()
		let(func() bool { return w.began.Load() > began+4 })
	}
	close(stop)
	readers.Wait()
	t.Logf("%d readings began after an acknowledgement, %d of the others got something", w.began.Load(), w.given.Load())
	if w.began.Load() < 60 || w.given.Load() < 30 {
		t.Error("too few readings to tell anything")
	}
}
