package vault_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

func TestTokensForDataAndBack(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	r := register(t, v, shop, aigul())
	if !r.Created || len(r.Tokens["phone"].Items) != 2 || !r.Tokens["phone"].List {
		t.Fatalf("%+v", r)
	}
	got := detokenize(t, v, shop, api.Plain, r.Tokens["iin"].Items[0], r.Tokens["phone"].Items[1], r.Tokens["given_name"].Items[0])
	wantText(t, got[0].Value, iinA)
	wantText(t, got[1].Value, "+77017654321")
	wantText(t, got[2].Value, "Айгүл")
	if got[0].Subject != r.Subject || got[0].Field != "iin" {
		t.Fatalf("%+v", got[0])
	}
	masked := detokenize(t, v, shop, api.Masked, r.Tokens["iin"].Items[0])
	if s, _ := masked[0].Value.Text(); s == iinA || s[len(s)-2:] != "46" {
		t.Fatalf("masked IIN is %q", s)
	}
	address := detokenize(t, v, shop, api.Plain, r.Tokens["residence_address"].Items[0])
	if parts, ok := address[0].Value.Parts(); !ok || parts["city"] != "Алматы" {
		t.Fatalf("address %v", parts)
	}
}

func TestSameValueSameToken(t *testing.T) {
	v := vaulttest.New(t)
	shop, other := app(v), v.As("loyalty", access.Application)
	first := register(t, v, shop, aigul())
	again := register(t, v, shop, aigul())
	if again.Created || again.Subject != first.Subject || again.Tokens["iin"].Items[0] != first.Tokens["iin"].Items[0] ||
		again.Tokens["phone"].Items[1] != first.Tokens["phone"].Items[1] {
		t.Fatalf("%+v\n%+v", first, again)
	}
	theirs := register(t, v, other, aigul())
	if !theirs.Created || theirs.Subject == first.Subject || theirs.Tokens["iin"].Items[0] == first.Tokens["iin"].Items[0] {
		t.Fatal("two systems share an id or a token")
	}
	wantItem(t, detokenize(t, v, other, api.Plain, first.Tokens["iin"].Items[0])[0].Error, fault.NotFound)
}

func TestOneBatchOnePersonTwice(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	resp, err := v.Tokenize(ctx, shop, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{
		{Fields: fields{"iin": text(iinA), "given_name": text("Айгүл")}},
		{Fields: fields{"iin": text(iinA), "family_name": text("Сәрсенова")}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	a, b := resp.Results[0], resp.Results[1]
	if a.Error != nil || b.Error != nil || a.Subject != b.Subject || a.Tokens["iin"].Items[0] != b.Tokens["iin"].Items[0] {
		t.Fatalf("%+v\n%+v", a, b)
	}
	if a.Created == b.Created {
		t.Fatal("the person is new to the system exactly once")
	}
}

func TestConflicts(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	register(t, v, shop, aigul())
	different := fields{"iin": text(iinA), "given_name": text("Айнұр")}
	r := tokenize1(t, v, shop, api.TokenizeItem{Fields: different})
	wantItem(t, r.Error, fault.Conflict)
	if len(r.Error.Errors) != 1 || r.Error.Errors[0].Field != "given_name" {
		t.Fatalf("%+v", r.Error)
	}
	kept := tokenize1(t, v, shop, api.TokenizeItem{Fields: different, OnConflict: api.ConflictKeep})
	if kept.Error != nil || len(kept.Differs) != 1 || kept.Differs[0] != "given_name" {
		t.Fatalf("%+v", kept)
	}
	wantText(t, detokenize(t, v, shop, api.Plain, kept.Tokens["given_name"].Items[0])[0].Value, "Айгүл")

	b := register(t, v, shop, fields{"iin": text(iinB)})
	wantItem(t, tokenize1(t, v, shop, api.TokenizeItem{Subject: b.Subject, Fields: fields{"iin": text(iinA)}}).Error, fault.Conflict)
}

func TestExternalRefFindsThePerson(t *testing.T) {
	v := vaulttest.New(t)
	shop, other := app(v), v.As("loyalty", access.Application)
	first := tokenize1(t, v, shop, api.TokenizeItem{ExternalRef: "client/4711", Fields: fields{"given_name": text("Айгүл")}})
	wantItem(t, first.Error, "")
	again := tokenize1(t, v, shop, api.TokenizeItem{ExternalRef: "client/4711", Fields: fields{"family_name": text("Сәрсенова")}})
	if again.Subject != first.Subject || again.Created {
		t.Fatalf("%+v", again)
	}
	theirs := tokenize1(t, v, other, api.TokenizeItem{ExternalRef: "client/4711", Fields: fields{"given_name": text("Болат")}})
	if theirs.Error != nil || !theirs.Created {
		t.Fatalf("a system's reference reached another system's person: %+v", theirs)
	}
	register(t, v, shop, aigul())
	wantItem(t, tokenize1(t, v, shop, api.TokenizeItem{ExternalRef: "client/4711", Fields: fields{"iin": text(iinA)}}).Error, fault.Conflict)
}

func TestBadInputLeavesNothing(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	tests := []struct {
		name, field, value string
	}{
		{"check digit", "iin", "850312113645"}, {"BIN", "iin", "991340000017"}, {"13 digits", "iin", "8503121136461"},
		{"full width", "iin", "８５０３１２１１３６４６"}, {"not UTF-8", "given_name", "a\xffb"}, {"30 February", "iin", "850230113640"},
		{"a mail", "email", "nobody"}, {"a phone", "phone", "12"}, {"unknown", "shoe_size", "41"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := tokenize1(t, v, shop, api.TokenizeItem{
				ExternalRef: "bad/1", Fields: fields{tt.field: text(tt.value), "family_name": text("Есенов")},
			})
			wantItem(t, r.Error, fault.Invalid)
			if r.Error.Errors[0].Field != tt.field || r.Error.Errors[0].Rule == "" {
				t.Fatalf("%+v", r.Error)
			}
		})
	}
	good := tokenize1(t, v, shop, api.TokenizeItem{ExternalRef: "bad/1", Fields: fields{"family_name": text("Есенов")}})
	if good.Error != nil || !good.Created {
		t.Fatalf("a refused item left a person behind: %+v", good)
	}
	_, err := v.Tokenize(ctx, shop, &api.TokenizeRequest{Purpose: "registration", Items: make([]api.TokenizeItem, 1001)})
	wantCode(t, err, fault.Invalid)
	_, err = v.Tokenize(ctx, shop, &api.TokenizeRequest{Purpose: "curiosity", Items: make([]api.TokenizeItem, 1)})
	wantCode(t, err, fault.Invalid)
}

func TestPurposeBoundsWritingAndReading(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	resp, err := v.Tokenize(ctx, shop, &api.TokenizeRequest{Purpose: "notices", Items: []api.TokenizeItem{{Fields: fields{"iin": text(iinA)}}}})
	if err != nil {
		t.Fatal(err)
	}
	wantItem(t, resp.Results[0].Error, fault.Denied)
	r := register(t, v, shop, aigul())
	read, err := v.Detokenize(ctx, shop, &api.DetokenizeRequest{
		Purpose: "notices", Reason: "mailing", Tokens: []string{r.Tokens["iin"].Items[0], r.Tokens["phone"].Items[0]},
	})
	if err != nil {
		t.Fatal(err)
	}
	wantItem(t, read.Results[0].Error, fault.Denied)
	wantText(t, read.Results[1].Value, phoneA)
}

func TestMistypedTokenIsSaidToBe(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	tok := []byte(register(t, v, shop, aigul()).Tokens["iin"].Items[0])
	tok[10] ^= 1
	got := detokenize(t, v, shop, api.Plain, string(tok))[0]
	wantItem(t, got.Error, fault.NotFound)
}

func TestRevokedTokenIsNotFoundAndTheNextIsNew(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	first := register(t, v, shop, aigul()).Tokens["iin"].Items[0]
	revoked := must[*api.RevokeResponse](t)(v.RevokeTokens(ctx, shop, &api.TokensRequest{Tokens: []string{first}}))
	if !revoked.Results[0].Revoked {
		t.Fatalf("%+v", revoked)
	}
	wantItem(t, detokenize(t, v, shop, api.Plain, first)[0].Error, fault.NotFound)
	second := register(t, v, shop, aigul()).Tokens["iin"].Items[0]
	if second == first {
		t.Fatal("a revoked token came back")
	}
	wantText(t, detokenize(t, v, shop, api.Plain, second)[0].Value, iinA)
}

func TestDescribeTellsWhatATokenStandsFor(t *testing.T) {
	v := vaulttest.New(t)
	d := must[*api.DescribeResponse](t)(v.DescribeTokens(ctx, app(v), &api.TokensRequest{Tokens: []string{register(t, v, app(v), aigul()).Tokens["iin"].Items[0]}}))
	if r := d.Results[0]; r.Field != "iin" || r.Kind != "field" || r.State != "active" {
		t.Fatalf("%+v", r)
	}
}

func TestSearchStaysAmongThoseHeld(t *testing.T) {
	v := vaulttest.New(t)
	shop, other, desk := app(v), v.As("loyalty", access.Application), staff(v)
	r := register(t, v, shop, aigul())
	search := func(who vault.Call, value string) []api.SearchResult {
		return must[*api.SearchResponse](t)(v.Search(ctx, who, &api.SearchRequest{
			Purpose: "service", Reason: "support_call", Field: "phone", Value: api.Text(value),
		})).Results
	}
	if got := search(shop, "8 701 123 45 67"); len(got) != 1 || got[0].Subject != r.Subject || got[0].Tokens["iin"].Items[0] != r.Tokens["iin"].Items[0] {
		t.Fatalf("%+v", got)
	}
	if got := search(other, phoneA); len(got) != 0 {
		t.Fatalf("a system found a person it does not hold: %+v", got)
	}
	if got := search(desk, phoneA); len(got) != 1 || got[0].Subject == r.Subject {
		t.Fatalf("%+v", got)
	}
}

func TestIdempotency(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	req := &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{{Fields: fields{"given_name": text("Айгүл")}}}}
	shop.Key, shop.Body = "key-1", []byte("body")
	first := must[*api.TokenizeResponse](t)(v.Tokenize(ctx, shop, req)).Results[0]
	again := must[*api.TokenizeResponse](t)(v.Tokenize(ctx, shop, req)).Results[0]
	if first.Subject != again.Subject || first.Created != again.Created || first.Tokens["given_name"].Items[0] != again.Tokens["given_name"].Items[0] {
		t.Fatalf("%+v\n%+v", first, again)
	}
	shop.Body = []byte("another body")
	_, err := v.Tokenize(ctx, shop, req)
	wantCode(t, err, fault.Unprocessable)
	shop.Key = "key-2"
	if other := must[*api.TokenizeResponse](t)(v.Tokenize(ctx, shop, req)).Results[0]; other.Subject == first.Subject {
		t.Fatal("another key found the first call's person")
	}
}

func TestALenientFieldWarnsOfWhatItForgives(t *testing.T) {
	lenient := must[*schema.Schema](t)(schema.Parse(strings.NewReader("fields:\n  - {name: iin, type: iin, lenient: true, searchable: true, unique: true}\n")))
	v := vaulttest.New(t, vaulttest.With(func(o *vault.Options) { o.Schema = lenient }))
	shop := app(v)
	for iin, want := range map[string][]fault.Field{
		"850312113646": nil, "850230113640": {{Field: "iin", Rule: "date"}}, "850312713644": {{Field: "iin", Rule: "century"}},
	} {
		if got := register(t, v, shop, fields{"iin": text(iin)}).Warnings; !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", iin, got, want)
		}
	}
	who := register(t, v, shop, fields{"iin": text("960131113645")})
	r := must[*api.RectifyResponse](t)(v.Rectify(ctx, shop, who.Subject, &api.RectifyRequest{
		Purpose: "registration", Evidence: api.Evidence{Kind: "document", Ref: "A-17"}, Fields: fields{"iin": text("830229113641")},
	}))
	if want := []fault.Field{{Field: "iin", Rule: "date"}}; !slices.Equal(r.Warnings, want) {
		t.Errorf("corrected: %v, want %v", r.Warnings, want)
	}
	if e := tokenize1(t, v, shop, api.TokenizeItem{Fields: fields{"iin": text("991340000017")}}).Error; e == nil || e.Code != fault.Invalid {
		t.Errorf("a number that is no person's: %+v", e)
	}
}
