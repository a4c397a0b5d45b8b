package vault_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// These tests hold what a hostile review found: each was an attack that worked once.

func TestKeepLeadsToNobodyElsesValue(t *testing.T) {
	v := vaulttest.New(t)
	shop, spy := app(v), v.As("spy", access.Application)
	register(t, v, shop, aigul())
	got := tokenize1(t, v, spy, api.TokenizeItem{OnConflict: api.ConflictKeep, Fields: fields{
		"iin": text(iinA), "given_name": text("Икс"), "residence_address": text("x"),
	}})
	wantItem(t, got.Error, "")
	if len(got.Differs) != 2 || len(got.Tokens) != 1 || got.Tokens["iin"].Items == nil {
		t.Fatalf("%+v", got)
	}
	if r := must[*api.RevealResponse](t)(v.Reveal(ctx, spy, got.Subject, &api.RevealRequest{
		Purpose: "service", Reason: "spying", Fields: []string{"given_name", "residence_address", "phone", "iin"},
	})); len(r.Fields) != 1 {
		t.Fatalf("%v", r.Fields)
	}
}

func TestASystemChangesOnlyWhatItHolds(t *testing.T) {
	v := vaulttest.New(t)
	shop, spy, desk := app(v), v.As("spy", access.Application), staff(v)
	who := register(t, v, shop, aigul())
	same := register(t, v, spy, fields{"iin": text(iinA)})
	rectify := func(call vault.Call, subject string, f fields) error {
		_, err := v.Rectify(ctx, call, subject, &api.RectifyRequest{
			Purpose: "registration", Evidence: api.Evidence{Kind: "self_service", Ref: "A-17"}, Fields: f,
		})
		return err
	}
	wantCode(t, rectify(spy, same.Subject, fields{"given_name": text("Икс")}), fault.Conflict)
	if err := rectify(spy, same.Subject, fields{"phone": texts("+77059990000")}); err != nil {
		t.Fatal(err)
	}
	got := detokenize(t, v, shop, api.Plain, who.Tokens["given_name"].Items[0], who.Tokens["phone"].Items[0], who.Tokens["phone"].Items[1])
	wantText(t, got[0].Value, "Айгүл")
	wantText(t, got[1].Value, phoneA)
	wantText(t, got[2].Value, "+77017654321")

	vaultWide := must[*api.SearchResponse](t)(v.Search(ctx, desk, &api.SearchRequest{
		Purpose: "service", Reason: "check", Field: "iin", Value: api.Text(iinA),
	})).Results[0].Subject
	must[*api.Subject](t)(v.Block(ctx, desk, vaultWide, &api.BlockRequest{Kind: "unlawful", Reason: "found"}))
	_, err := v.Unblock(ctx, spy, same.Subject, &api.BlockRequest{Kind: "unlawful", Reason: "let_me"})
	wantCode(t, err, fault.Denied)
	must[*api.Subject](t)(v.Unblock(ctx, desk, vaultWide, &api.BlockRequest{Kind: "unlawful", Reason: "cleared"}))

	e := erase(t, v, spy, same.Subject)
	if e.State != api.ErasureRequested || e.ApprovalsNeeded != 1 {
		t.Fatalf("a system erased somebody whom another holds: %+v", e)
	}
	if e.WillDestroy.Fields != 2 || e.WillDestroy.Tokens != 2 {
		t.Fatalf("it is told what others hold: %+v", e.WillDestroy)
	}
	must[*api.Erasure](t)(v.ApproveErasure(ctx, desk, e.Erasure, &api.ErasureApproval{}))
	erased(t, v, desk, e.Erasure)
}

func TestASystemSeesItsOwnSideOnly(t *testing.T) {
	v := vaulttest.New(t)
	shop, spy, desk := app(v), v.As("spy", access.Application), staff(v)
	register(t, v, shop, aigul())
	resp := must[*api.TokenizeResponse](t)(v.Tokenize(ctx, spy, &api.TokenizeRequest{Purpose: "contract", Items: []api.TokenizeItem{{Fields: fields{"iin": text(iinA)}}}}))
	seen := must[*api.Subject](t)(v.Subject(ctx, spy, resp.Results[0].Subject))
	if len(seen.Fields) != 1 || len(seen.Purposes) != 1 || seen.Purposes[0] != "contract" {
		t.Fatalf("%+v", seen)
	}
	search := func(call vault.Call) int {
		return len(must[*api.SearchResponse](t)(v.Search(ctx, call, &api.SearchRequest{
			Purpose: "service", Reason: "check", Field: "phone", Value: api.Text(phoneA),
		})).Results)
	}
	if search(spy) != 0 || search(shop) != 1 || search(desk) != 1 {
		t.Fatal("a search confirms a value that another system brought")
	}
}

func TestARetryIsAnsweredAndNotDoneAgain(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	who := register(t, v, shop, aigul())
	rectify := func(key, value string) (*api.RectifyResponse, error) {
		call := shop
		call.Key, call.Body = key, []byte(value)
		return v.Rectify(ctx, call, who.Subject, &api.RectifyRequest{
			Purpose: "registration", Evidence: api.Evidence{Kind: "document", Ref: "A-17"}, Fields: fields{"given_name": text(value)},
		})
	}
	first := must[*api.RectifyResponse](t)(rectify("k1", "Бір"))
	must[*api.RectifyResponse](t)(rectify("k2", "Екі"))
	again := must[*api.RectifyResponse](t)(rectify("k1", "Бір"))
	if first.Tokens["given_name"].Items[0] != again.Tokens["given_name"].Items[0] {
		t.Fatal("another answer")
	}
	wantText(t, detokenize(t, v, shop, api.Plain, who.Tokens["given_name"].Items[0])[0].Value, "Екі")

	other := register(t, v, shop, fields{"iin": text(iinB)})
	call := shop
	call.Key, call.Body = "k3", []byte("block")
	must[*api.Subject](t)(v.Block(ctx, call, who.Subject, &api.BlockRequest{Kind: "dispute", Reason: "claim"}))
	_, err := v.Block(ctx, call, other.Subject, &api.BlockRequest{Kind: "dispute", Reason: "claim"})
	wantCode(t, err, fault.Unprocessable)
}

func TestManyItemsOfOnePerson(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	req := &api.TokenizeRequest{Purpose: "registration"}
	for i := range 40 {
		req.Items = append(req.Items, api.TokenizeItem{Fields: fields{"iin": text(iinA), "phone": text(fmt.Sprintf("+7701555%04d", i))}})
	}
	created := 0
	for _, r := range must[*api.TokenizeResponse](t)(v.Tokenize(ctx, shop, req)).Results {
		wantItem(t, r.Error, "")
		if r.Created {
			created++
		}
	}
	if created != 1 {
		t.Fatalf("the person was created %d times", created)
	}
}

func TestWritersDoNotHoldBlocksUp(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	who := register(t, v, shop, aigul())
	busy, stop := context.WithCancel(ctx)
	var writers sync.WaitGroup
	for range 64 {
		writers.Go(func() {
			for busy.Err() == nil {
				_, _ = v.Rectify(busy, shop, who.Subject, &api.RectifyRequest{
					Purpose: "registration", Evidence: api.Evidence{Kind: "document", Ref: "A-17"}, Fields: fields{"given_name": text("Айгүл")},
				})
			}
		})
	}
	defer writers.Wait()
	defer stop()
	for range 20 {
		must[*api.Subject](t)(v.Block(ctx, shop, who.Subject, &api.BlockRequest{Kind: "dispute", Reason: "claim"}))
		must[*api.Subject](t)(v.Unblock(ctx, shop, who.Subject, &api.BlockRequest{Kind: "dispute", Reason: "cleared"}))
		wantItem(t, detokenize(t, v, shop, api.Plain, who.Tokens["iin"].Items[0])[0].Error, "")
	}
}

// late is a provider whose answer to one Advance is lost.
type late struct {
	kms.Provider
	lose sync.Once
}

func (l *late) Advance(ctx context.Context, from, next kms.Generation) error {
	err := l.Provider.Advance(ctx, from, next)
	l.lose.Do(func() { err = errors.Join(err, kms.ErrUnavailable) })
	return err
}

func TestALostAdvanceDemotesNobody(t *testing.T) {
	home := t.TempDir()
	keys := must[kms.Provider](t)(vaulttest.Keyring(home + "/keyring"))
	defer keys.Close()
	v := vaulttest.At(t, home, vaulttest.With(func(o *vault.Options) { o.Keys = &late{Provider: keys} }))
	eventually(t, "the store is the live one", func() bool { return len(v.Ready(ctx).Degraded) == 0 })
	register(t, v, app(v), aigul())
}

func TestAnUploadEndsWithItsPerson(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	who := register(t, v, shop, aigul())
	u := upload(who.Subject, nil)
	slow := &slowBody{first: jpeg(8000), at: make(chan struct{})}
	u.Body, u.Length = slow, -1
	ended := make(chan error, 1)
	go func() {
		_, err := v.PutDocument(ctx, shop, u)
		ended <- err
	}()
	<-slow.at
	must[*api.Subject](t)(v.Block(ctx, shop, who.Subject, &api.BlockRequest{Kind: "dispute", Reason: "claim"}))
	select {
	case err := <-ended:
		wantCode(t, err, fault.Blocked)
	case <-time.After(5 * time.Second):
		t.Fatal("the upload goes on after the block")
	}
}

// slowBody sends its beginning, says that it did, and then trickles for ever.
type slowBody struct {
	first []byte
	at    chan struct{}
	told  bool
}

func (s *slowBody) Read(p []byte) (int, error) {
	if len(s.first) > 0 {
		n := copy(p, s.first)
		s.first = s.first[n:]
		return n, nil
	}
	if !s.told {
		s.told = true
		close(s.at)
	}
	time.Sleep(10 * time.Millisecond)
	return copy(p, "x"), nil
}

func TestRevokingAgainAnswersTheSame(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	tok := register(t, v, shop, aigul()).Tokens["iin"].Items[0]
	for range 2 {
		if r := must[*api.RevokeResponse](t)(v.RevokeTokens(ctx, shop, &api.TokensRequest{Tokens: []string{tok}})).Results[0]; !r.Revoked {
			t.Fatalf("%+v", r)
		}
	}
	wantItem(t, must[*api.DescribeResponse](t)(v.DescribeTokens(ctx, shop, &api.TokensRequest{Tokens: []string{tok}})).Results[0].Error, fault.NotFound)
}

func TestSlotsAreUsedAgain(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	who := register(t, v, shop, aigul())
	for i := range 30 {
		_, err := v.Rectify(ctx, shop, who.Subject, &api.RectifyRequest{
			Purpose: "registration", Evidence: api.Evidence{Kind: "document", Ref: "A-17"},
			Fields: fields{"phone": texts(fmt.Sprintf("+7701555%04d", i), fmt.Sprintf("+7701556%04d", i), fmt.Sprintf("+7701557%04d", i))},
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = v.Rectify(ctx, shop, who.Subject, &api.RectifyRequest{
			Purpose: "registration", Evidence: api.Evidence{Kind: "document", Ref: "A-17"}, Fields: fields{"phone": texts(fmt.Sprintf("+7701556%04d", i))},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	got := must[*api.RevealResponse](t)(v.Reveal(ctx, shop, who.Subject, &api.RevealRequest{Purpose: "service", Reason: "check", Fields: []string{"phone"}})).Fields["phone"]
	if len(got.Items) != 1 {
		t.Fatalf("%d phones", len(got.Items))
	}
	wantText(t, &got.Items[0], "+77015560029")
	if seen := must[*api.Subject](t)(v.Subject(ctx, shop, who.Subject)); seen.Fields["phone"].Values != 1 {
		t.Fatalf("%+v", seen.Fields)
	}
}

func TestRefusedReadings(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	who := register(t, v, shop, aigul())
	for name, req := range map[string]api.RevealRequest{
		"a field twice":         {Purpose: "service", Reason: "check", Fields: []string{"iin", "iin"}},
		"a long note":           {Purpose: "service", Reason: "check", Note: strings.Repeat("ұ", 1001), Fields: []string{"iin"}},
		"an IIN as a reason":    {Purpose: "service", Reason: iinA, Fields: []string{"iin"}},
		"a phone for an actor":  {Purpose: "service", Reason: "check", OnBehalfOf: &api.Actor{Actor: "77011234567"}, Fields: []string{"iin"}},
		"an unverifiable token": {Purpose: "service", Reason: "check", OnBehalfOf: &api.Actor{Actor: "e-1", Token: "x"}, Fields: []string{"iin"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := v.Reveal(ctx, shop, who.Subject, &req)
			wantCode(t, err, fault.Invalid)
		})
	}
	must[*api.RevealResponse](t)(v.Reveal(ctx, shop, who.Subject, &api.RevealRequest{
		Purpose: "service", Reason: "check", Note: strings.Repeat("ұ", 1000), Fields: []string{"iin"},
	}))
}

func TestDayKeysAreDestroyed(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	shop.Key, shop.Body = "key-1", []byte("x")
	must[*api.Subject](t)(v.CreateSubject(ctx, shop, &api.CreateSubjectRequest{Purpose: "registration"}))
	before := len(keyFiles(t, v))
	v.Clock.Advance(72 * time.Hour)
	eventually(t, "the key of the day is gone", func() bool { return len(keyFiles(t, v)) == before-1 })
}

func TestNobodyApprovesWithATokenOfTheirOwnMaking(t *testing.T) {
	v := vaulttest.New(t, vaulttest.FourEyes())
	boss := v.As("boss", access.Administrator)
	who := register(t, v, boss, aigul())
	e := erase(t, v, boss, who.Subject)
	made := must[*api.ServiceToken](t)(v.CreateServiceToken(ctx, boss, &api.CreateServiceTokenRequest{System: "puppet", Role: "administrator"}))
	puppet := vault.Call{Principal: must[access.Principal](t)(v.Authenticate(ctx, vault.Presented{Bearer: made.Secret}))}
	_, err := v.ApproveErasure(ctx, puppet, e.Erasure, &api.ErasureApproval{})
	wantCode(t, err, fault.Denied)
	must[*api.Erasure](t)(v.ApproveErasure(ctx, staff(v), e.Erasure, &api.ErasureApproval{}))
}

func TestEachSystemsBlockIsItsOwn(t *testing.T) {
	v := vaulttest.New(t)
	shop, spy, desk := app(v), v.As("spy", access.Application), staff(v)
	who := register(t, v, shop, aigul())
	same := register(t, v, spy, fields{"iin": text(iinA)})
	vaultWide := must[*api.SearchResponse](t)(v.Search(ctx, desk, &api.SearchRequest{
		Purpose: "service", Reason: "check", Field: "iin", Value: api.Text(iinA),
	})).Results[0].Subject
	block := &api.BlockRequest{Kind: "unlawful", Reason: "found"}
	must[*api.Subject](t)(v.Block(ctx, spy, same.Subject, block))
	must[*api.Subject](t)(v.Block(ctx, desk, vaultWide, block))
	must[*api.Subject](t)(v.Unblock(ctx, spy, same.Subject, block))
	wantItem(t, detokenize(t, v, shop, api.Plain, who.Tokens["iin"].Items[0])[0].Error, fault.Blocked)
	must[*api.Subject](t)(v.Unblock(ctx, desk, vaultWide, block))
	wantItem(t, detokenize(t, v, shop, api.Plain, who.Tokens["iin"].Items[0])[0].Error, "")
}

func TestNobodyRewritesWhatAnotherReliesOn(t *testing.T) {
	v := vaulttest.New(t)
	shop, spy := app(v), v.As("spy", access.Application)
	who := register(t, v, shop, aigul())
	same := register(t, v, spy, fields{"iin": text(iinA), "phone": texts(phoneA)})
	rectify := func(f fields) (*api.RectifyResponse, error) {
		return v.Rectify(ctx, spy, same.Subject, &api.RectifyRequest{
			Purpose: "registration", Evidence: api.Evidence{Kind: "document", Ref: "A-17"}, Fields: f,
		})
	}
	_, err := rectify(fields{"iin": text(iinC)})
	wantCode(t, err, fault.Conflict)
	r := must[*api.RectifyResponse](t)(rectify(fields{"phone": texts("+77059990000")}))
	if r.Tokens["phone"].Items[0] == same.Tokens["phone"].Items[0] {
		t.Fatal("a token came to stand for another value")
	}
	got := detokenize(t, v, shop, api.Plain, who.Tokens["iin"].Items[0], who.Tokens["phone"].Items[0])
	wantText(t, got[0].Value, iinA)
	wantText(t, got[1].Value, phoneA)
	wantItem(t, detokenize(t, v, spy, api.Plain, same.Tokens["phone"].Items[0])[0].Error, fault.NotFound)
}

func TestARetryNeverAnswersAnothersToken(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	call := shop
	call.Key, call.Body = "k", []byte("x")
	req := &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{{
		ExternalRef: "r/1", Fields: fields{"phone": texts("+77015550001", "+77015550002")},
	}}}
	first := must[*api.TokenizeResponse](t)(v.Tokenize(ctx, call, req)).Results[0]
	must[*api.RectifyResponse](t)(v.Rectify(ctx, shop, first.Subject, &api.RectifyRequest{
		Purpose: "registration", Evidence: api.Evidence{Kind: "document", Ref: "A-17"}, Fields: fields{"phone": texts("+77015550002")},
	}))
	tokenize1(t, v, shop, api.TokenizeItem{Subject: first.Subject, Fields: fields{"phone": texts("+77015550003")}})
	wantItem(t, must[*api.TokenizeResponse](t)(v.Tokenize(ctx, call, req)).Results[0].Error, fault.Conflict)
}

func TestCrossedBatchesFinish(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	bounded, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	var clients sync.WaitGroup
	for c := range 8 {
		clients.Go(func() {
			for i := range 10 {
				req := &api.TokenizeRequest{Purpose: "registration"}
				for k := range 4 {
					req.Items = append(req.Items, api.TokenizeItem{Fields: fields{
						"iin":   text([]string{iinA, iinB, iinC}[(k+c)%3]),
						"email": text(fmt.Sprintf("a%d-%d-%d@example.com", c, i, k)),
					}})
				}
				if _, err := v.Tokenize(bounded, shop, req); err != nil {
					t.Error(err)
				}
			}
		})
	}
	clients.Wait()
}

func TestPromotionLeavesOneLiveStore(t *testing.T) {
	home := t.TempDir()
	keys := must[kms.Provider](t)(vaulttest.Keyring(home + "/keyring"))
	defer keys.Close()
	// The keys are away when the second start has noted the generation it goes on to.
	v := vaulttest.At(t, home, vaulttest.With(func(o *vault.Options) { o.Keys = keys }))
	register(t, v, app(v), aigul())
	v.Stop()
	lost := &neverTold{Provider: keys}
	pending := vaulttest.At(t, home, vaulttest.With(func(o *vault.Options) { o.Keys = lost }))
	pending.Stop()
	copied := t.TempDir()
	copyTree(t, home+"/store", copied+"/store")
	next := vaulttest.At(t, copied, v.SameLedger(), vaulttest.With(func(o *vault.Options) { o.Keys = keys }))
	if err := next.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	old := vaulttest.At(t, home, vaulttest.With(func(o *vault.Options) { o.Keys = keys }))
	eventually(t, "the old store is superseded", func() bool { return !old.Ready(ctx).Ready })
	eventually(t, "the promoted store is the live one", func() bool {
		r := next.Ready(ctx)
		return r.Ready && len(r.Degraded) == 0
	})
}

// neverTold is a provider that no Advance reaches.
type neverTold struct{ kms.Provider }

func (neverTold) Advance(context.Context, kms.Generation, kms.Generation) error {
	return kms.ErrUnavailable
}

func TestStaffWhoCorrectHoldNobody(t *testing.T) {
	v := vaulttest.New(t)
	shop, desk := app(v), staff(v)
	who := register(t, v, shop, aigul())
	vaultWide := must[*api.SearchResponse](t)(v.Search(ctx, desk, &api.SearchRequest{
		Purpose: "service", Reason: "check", Field: "iin", Value: api.Text(iinA),
	})).Results[0].Subject
	r := must[*api.RectifyResponse](t)(v.Rectify(ctx, desk, vaultWide, &api.RectifyRequest{
		Purpose: "registration", Evidence: api.Evidence{Kind: "document", Ref: "A-17"}, Fields: fields{"given_name": text("Айнұр")},
	}))
	if len(r.Tokens) != 0 {
		t.Fatalf("%v", r.Tokens)
	}
	wantText(t, detokenize(t, v, shop, api.Plain, who.Tokens["given_name"].Items[0])[0].Value, "Айнұр")
	erased(t, v, shop, erase(t, v, shop, who.Subject).Erasure)
}
