package httpapi_test

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/httpapi"
)

// canary stands for personal data: no answer and no log line may show it.
const canary = "850312113646"

func TestABodyThatBreaksARuleIsRefusedByPlaceAndRule(t *testing.T) {
	many := func(n int, item string) string { return strings.TrimSuffix(strings.Repeat(item+",", n), ",") }
	cases := map[string]struct {
		body        string
		field, rule string
	}{
		"unknown member":              {`{"purpose":"x","850312113646":"850312113646"}`, "body", "unknown member"},
		"unknown member inside":       {`{"items":[{},{"850312113646":1}]}`, "items[1]", "unknown member"},
		"wrong case":                  {`{"Purpose":"850312113646"}`, "body", "unknown member"},
		"duplicate member":            {`{"purpose":"x","purpose":"850312113646"}`, "body", "a member is named once"},
		"duplicate field":             {`{"items":[{"fields":{"850312113646":"a","850312113646":"b"}}]}`, "items[0].fields", "a member is named once"},
		"duplicate part":              {`{"items":[{"fields":{"x":{"850312113646":"a","850312113646":"b"}}}]}`, "items[0].fields", "a text, or an object of texts"},
		"number for a text":           {`{"purpose":850312113646}`, "purpose", "a text"},
		"number for a value":          {`{"items":[{"fields":{"850312113646":850312113646}}]}`, "items[0].fields", "a text, or an object of texts"},
		"object for a list":           {`{"items":{"850312113646":1}}`, "items", "a list"},
		"list for an object":          {`{"items":[["850312113646"]]}`, "items[0]", "an object"},
		"list for the body":           {`["850312113646"]`, "body", "an object"},
		"text for the body":           {`"850312113646"`, "body", "an object"},
		"null for the body":           {`null`, "body", "null is not a value here; leave the member out"},
		"null member":                 {`{"purpose":null}`, "purpose", "null is not a value here; leave the member out"},
		"null item":                   {`{"items":[{},null]}`, "items[1]", "null is not a value here; leave the member out"},
		"null field":                  {`{"items":[{"fields":{"850312113646":null}}]}`, "items[0].fields", "null is not a value here; leave the member out"},
		"nothing":                     {``, "body", "one well-formed JSON value"},
		"cut":                         {`{"purpose":"850312113646`, "purpose", "one well-formed JSON value"},
		"trailing data":               {`{"purpose":"x"} 850312113646`, "body", "one well-formed JSON value"},
		"trailing value":              {`{"purpose":"x"}{"purpose":"y"}`, "body", "one well-formed JSON value"},
		"trailing comma":              {`{"purpose":"x",}`, "body", "one well-formed JSON value"},
		"comment":                     {`{"purpose":"x"/*850312113646*/}`, "body", "one well-formed JSON value"},
		"bad UTF-8":                   {"{\"purpose\":\"850312113646\xff\"}", "purpose", "valid UTF-8"},
		"lone surrogate":              {`{"purpose":"\ud800850312113646"}`, "purpose", "one well-formed JSON value"},
		"1,001 items":                 {`{"items":[` + many(1001, "{}") + `]}`, "items", "at most 1000"},
		"1,001 items, null in a text": {`{"purpose":"null","items":[` + many(1001, "{}") + `]}`, "items", "at most 1000"},
		"1,001 values":                {`{"items":[{"fields":{"phone":[` + many(1001, `"850312113646"`) + `]}}]}`, "items[0].fields", "at most 1000"},
		"a million items":             {`{"items":[` + many(1_000_000, "{}") + `]}`, "items", "at most 1000"},
	}
	url, log := serve(t, &service{})
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := post(t, url+"/v1/tokenize", c.body)
			p := a.problem(t)
			if a.StatusCode != http.StatusBadRequest || p.Status != a.StatusCode || p.Code != fault.Invalid {
				t.Errorf("status %d, code %q", a.StatusCode, p.Code)
			}
			if want := []fault.Field{{Field: c.field, Rule: c.rule}}; !reflect.DeepEqual(p.Errors, want) {
				t.Errorf("errors %v, want %v", p.Errors, want)
			}
			if strings.Contains(a.body, canary) {
				t.Errorf("the problem repeats the input: %s", a.body)
			}
		})
	}
	if strings.Contains(log.String(), canary) {
		t.Error("the log repeats the input")
	}
}

func TestABatchOfAThousandIsTaken(t *testing.T) {
	var got int
	url, _ := serve(t, &service{detokenize: func(_ context.Context, _ vault.Call, in *api.DetokenizeRequest) (*api.DetokenizeResponse, error) {
		got = len(in.Tokens)
		return &api.DetokenizeResponse{}, nil
	}})
	tokens := strings.Repeat(`"sdq_",`, 999) + `"sdq_"`
	if a := post(t, url+"/v1/detokenize", `{"purpose":"null","reason":"r","tokens":[`+tokens+`]}`); a.StatusCode != http.StatusOK || got != 1000 {
		t.Errorf("status %d, %d tokens", a.StatusCode, got)
	}
}

func TestTextsThatContainNullAreTexts(t *testing.T) {
	in, err := httpapi.Decode[api.TokenizeRequest]([]byte(`{"purpose":"null","items":[]}`))
	if err != nil || in.Purpose != "null" {
		t.Errorf("got %v, %v", in, err)
	}
}

func TestContentTypesOfBodies(t *testing.T) {
	url, _ := serve(t, &service{tokenize: func(context.Context, vault.Call, *api.TokenizeRequest) (*api.TokenizeResponse, error) {
		return &api.TokenizeResponse{}, nil
	}})
	for contentType, want := range map[string]int{
		"application/json":                   200,
		"application/json; charset=utf-8":    200,
		"Application/JSON;charset=UTF-8":     200,
		"application/json; charset=utf-16":   415,
		"text/plain":                         415,
		"application/x-www-form-urlencoded":  415,
		"multipart/form-data; boundary=x":    415,
		"application/merge-patch+json":       415,
		"application/json; charset=utf-8; =": 415,
		"":                                   415,
	} {
		if a := post(t, url+"/v1/tokenize", `{}`, "Content-Type", contentType); a.StatusCode != want {
			t.Errorf("%q: %d, want %d", contentType, a.StatusCode, want)
		}
	}
	a := post(t, url+"/v1/tokenize", `{}`, "Content-Encoding", "gzip")
	if p := a.problem(t); p.Code != fault.Unsupported {
		t.Errorf("Content-Encoding: %s", p.Code)
	}
}

func TestABodyAboveTheLimitIsTooLarge(t *testing.T) {
	url, _ := serve(t, &service{tokenize: func(context.Context, vault.Call, *api.TokenizeRequest) (*api.TokenizeResponse, error) {
		return &api.TokenizeResponse{}, nil
	}})
	pad := func(n int) string { return `{"purpose":"` + strings.Repeat("a", n-len(`{"purpose":""}`)) + `"}` }
	if a := post(t, url+"/v1/tokenize", pad(api.MaxBody)); a.StatusCode != http.StatusOK {
		t.Errorf("at the limit: %d", a.StatusCode)
	}
	if p := post(t, url+"/v1/tokenize", pad(api.MaxBody+1)).problem(t); p.Code != fault.TooLarge || p.Status != 413 {
		t.Errorf("above the limit: %s", p.Code)
	}
	chunked := struct{ *strings.Reader }{strings.NewReader(pad(api.MaxBody + 1))} // hides the length from net/http
	if p := send(t, http.MethodPost, url+"/v1/tokenize", chunked).problem(t); p.Code != fault.TooLarge {
		t.Errorf("above the limit, length unknown: %s", p.Code)
	}
}

func TestACallWithoutABodyTakesNothing(t *testing.T) {
	var calls int
	url, _ := serve(t, &service{cancel: func(context.Context, vault.Call, string) (*api.Erasure, error) {
		calls++
		return &api.Erasure{State: api.ErasureCancelled, Kept: []api.Kept{}}, nil
	}})
	for body, want := range map[string]int{"": 200, "{}": 200, " ": 400, `{"a":1}`: 400, "null": 400, "x": 400} {
		if a := post(t, url+"/v1/erasures/era_1/cancel", body, "Content-Type", ""); a.StatusCode != want {
			t.Errorf("%q: %d, want %d", body, a.StatusCode, want)
		}
	}
	if calls != 2 {
		t.Errorf("%d calls", calls)
	}
}

func TestABodyThatMayBeLeftOut(t *testing.T) {
	var saw []string
	url, _ := serve(t, &service{
		approve: func(_ context.Context, _ vault.Call, _ string, in *api.ErasureApproval) (*api.Erasure, error) {
			saw = append(saw, in.Digest)
			return &api.Erasure{State: api.ErasureErasing, Kept: []api.Kept{}}, nil
		},
		withdraw: func(_ context.Context, _ vault.Call, _, consent string, in *api.WithdrawRequest) (*api.Consent, error) {
			saw = append(saw, in.Reason)
			return &api.Consent{Consent: consent, State: api.ConsentWithdrawn}, nil
		},
	})
	for path, member := range map[string]string{"/v1/erasures/era_1/approve": "digest", "/v1/subjects/sub_1/consents/cns_1/withdraw": "reason"} {
		saw = nil
		for _, test := range []struct {
			body, kind string
			want       int
		}{
			{"", "", 200}, {`{"` + member + `":"ab"}`, "application/json", 200}, {"{}", "application/json", 200}, {"{}", "", 415},
			{" ", "application/json", 400}, {`{"a":1}`, "application/json", 400}, {"null", "application/json", 400},
		} {
			if a := post(t, url+path, test.body, "Content-Type", test.kind); a.StatusCode != test.want {
				t.Errorf("%s: %q as %q: %d, want %d", path, test.body, test.kind, a.StatusCode, test.want)
			}
		}
		if !slices.Equal(saw, []string{"", "ab", ""}) {
			t.Errorf("%s: the service was asked with %q", path, saw)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"purpose":"registration","items":[{"subject":"sub_","fields":{"iin":"850312113646","phone":["+7"],"residence_address":{"country":"KZ"}}}]}`,
		`{"purpose":null}`, `{"items":[{"fields":{"a":[[]]}}]}`, "{\"a\xff\":1}", `[]`, ``, `{"on_behalf_of":{"actor":"e"}}`,
	} {
		f.Add([]byte(seed))
	}
	request := reflect.TypeFor[api.TokenizeRequest]()
	f.Fuzz(func(t *testing.T, raw []byte) {
		in, err := httpapi.Decode[api.TokenizeRequest](raw)
		if err == nil {
			again, merr := json.Marshal(in)
			if merr != nil {
				t.Fatalf("what was read cannot be written: %v", merr)
			}
			if _, err := httpapi.Decode[api.TokenizeRequest](again); err != nil {
				t.Fatalf("what was written cannot be read: %v", err)
			}
			return
		}
		if err.Code != fault.Invalid || len(err.Fields) != 1 {
			t.Fatalf("not one broken rule: %v", err)
		}
		for step := range strings.SplitSeq(err.Fields[0].Field, ".") {
			name, index, listed := strings.Cut(step, "[")
			if _, nan := strconv.Atoi(strings.TrimSuffix(index, "]")); listed && nan != nil {
				t.Fatalf("the place has an index that is no number")
			}
			if name != "body" && !httpapi.Known(request, name) {
				t.Fatalf("the place has a name that the API does not define")
			}
		}
	})
}
