package vault_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/move"
)

// TestKeysThatAreOthersAfterTheComparison: what is written afterwards is sealed under those, and all else of the same people is not. That is
// found before the switch.
func TestKeysThatAreOthersAfterTheComparison(t *testing.T) {
	original := newRehousing(t)
	for name, supplanted := range map[string]bool{"lost": false, "supplanted": true} {
		r := original.copied(&hazards{})
		journal, watched := move.Watch(r.from.store)
		m := r.move()
		rows := must[*move.Rows](t)(r.prepare(m))
		rows.Journal = journal
		if _, err := rows.Copy(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := rows.Verify(ctx); err != nil {
			t.Fatal(err)
		}
		claim := kms.Claim{Sentinel: must[kms.Sentinel](t)(r.to.keys.Sentinel(ctx)), Generation: must[kms.Generation](t)(r.to.keys.Generation(ctx))}
		made := r.to.keys.made
		if err := r.to.keys.Destroy(ctx, claim, made...); err != nil {
			t.Fatal(err)
		}
		if supplanted {
			must[[]kms.Key](t)(r.to.keys.Create(ctx, made...))
		}
		rows.Recast.(*vault.Recast).Close() // as when it has more keys open than it keeps
		v := r.serve(side{r.from.place, watched, r.from.keys})
		once := r.shop
		once.Key, once.Body = "key", []byte("body")
		retried := must[*api.TokenizeResponse](t)(v.Tokenize(ctx, once, r.own.retried())).Results[0].Subject
		for _, subject := range []string{r.own.person.Subject, retried} {
			if again := tokenize1(t, v, r.shop, api.TokenizeItem{Subject: subject, Fields: fields{"phone": texts("+77019998877")}}); again.Error != nil {
				t.Fatalf("%+v", again.Error)
			}
		}
		v.Stop()
		err := m.Still(ctx)
		if err == nil {
			_, err = rows.CatchUp(ctx)
		}
		err = errors.Join(err, rows.Equal())
		if err == nil {
			err = m.HandOver(ctx)
		}
		if !errors.Is(err, vault.ErrSupplanted) {
			t.Errorf("%s: handed over: %v", name, err)
		}
		r.live(r.from)
	}
}

// TestATryThatWasLeftBehindWritesNothing: one that stood still while another ended the move goes on.
func TestATryThatWasLeftBehindWritesNothing(t *testing.T) {
	r := newRehousing(t)
	behind := must[*move.Rows](t)(r.begin(r.move()))
	if err := r.try(); err != nil {
		t.Fatal(err)
	}
	v := r.serve(r.to)
	who := register(t, v, r.shop, fields{"family_name": text("Оспанова")})
	_, err := behind.Copy(ctx)
	if !errors.Is(err, vault.ErrTaken) {
		t.Errorf("copied once more: %v", err)
	}
	if _, err := v.Subject(ctx, r.shop, who.Subject); err != nil {
		t.Errorf("what was acknowledged is gone: %v", err)
	}
	v.Stop()
}

// TestKeysThatCameBackAfterTheComparison: what was carried as it was is sealed under the old ones still.
func TestKeysThatCameBackAfterTheComparison(t *testing.T) {
	r := newRehousing(t)
	journal, watched := move.Watch(r.from.store)
	m := r.move()
	rows := must[*move.Rows](t)(r.prepare(m))
	rows.Journal = journal
	r.from.keys.loses.Store(true)
	if _, err := rows.Copy(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := rows.Verify(ctx); err != nil {
		t.Fatal(err)
	}
	r.from.keys.loses.Store(false)
	rows.Recast.(*vault.Recast).Close() // as when it has more keys open than it keeps
	v := r.serve(side{r.from.place, watched, r.from.keys})
	once := r.shop
	once.Key, once.Body = "key", []byte("body")
	retried := must[*api.TokenizeResponse](t)(v.Tokenize(ctx, once, r.own.retried())).Results[0].Subject
	for _, subject := range []string{r.own.person.Subject, retried} {
		if again := tokenize1(t, v, r.shop, api.TokenizeItem{Subject: subject, Fields: fields{"phone": texts("+77019998877")}}); again.Error != nil {
			t.Fatalf("%+v", again.Error)
		}
	}
	v.Stop()
	err := m.Still(ctx)
	if err == nil {
		_, err = rows.CatchUp(ctx)
	}
	err = errors.Join(err, rows.Equal())
	if err == nil {
		err = m.HandOver(ctx)
	}
	if err == nil {
		err = m.Retire(ctx)
	}
	if err == nil {
		t.Error("the old keys are destroyed")
		v := r.serve(r.to)
		answer := must[*api.DetokenizeResponse](t)(v.Detokenize(ctx, r.shop, &api.DetokenizeRequest{
			Purpose: "service", Reason: "test", Tokens: r.own.person.Tokens["family_name"].Items,
		}))
		t.Logf("somebody alive: %+v", answer.Results[0].Error)
		v.Stop()
	}
}

// TestAProofWhoseNewKeyIsLostKeepsItsOldOne: it outlives its person, so no person's row vouches for it.
func TestAProofWhoseNewKeyIsLostKeepsItsOldOne(t *testing.T) {
	r := newRehousing(t)
	m := r.moved()
	var proofs []kms.ID
	for _, row := range allRows(t, r.to.store) {
		for _, id := range r.to.keys.made {
			if vault.KindOfRow([]byte(row.key)) == 'P' && strings.Contains(row.value, string(id[:])) {
				proofs = append(proofs, id)
			}
		}
	}
	if len(proofs) == 0 {
		t.Fatal("there is no proof")
	}
	claim := kms.Claim{Sentinel: must[kms.Sentinel](t)(r.to.keys.Sentinel(ctx)), Generation: must[kms.Generation](t)(r.to.keys.Generation(ctx))}
	if err := r.to.keys.Destroy(ctx, claim, proofs...); err != nil {
		t.Fatal(err)
	}
	if err := m.Retire(ctx); err == nil {
		t.Error("the old keys of proofs are destroyed, and the new ones are lost")
	}
}
