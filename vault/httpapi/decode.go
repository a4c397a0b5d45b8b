package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
)

// The rules that a body can break. They are all that a problem tells of it.
const (
	ruleJSON      = "one well-formed JSON value"
	ruleUTF8      = "valid UTF-8"
	ruleUnknown   = "unknown member"
	ruleDuplicate = "a member is named once"
	ruleNull      = "null is not a value here; leave the member out"
	ruleTime      = "a time as RFC 3339"
	ruleValue     = "a text, or an object of texts"
	ruleEmpty     = "no body, or an empty object"
)

var ruleItems = "at most " + strconv.Itoa(api.MaxItems)

// strict refuses what the API does not define. Duplicate names, wrong case and bad UTF-8 are refused by default.
var strict = json.RejectUnknownMembers(true)

// decode reads the request's JSON body into in and completes call with what a retry must repeat.
func (x *exchange) decode(call *vault.Call, in any) error {
	if err := jsonContent(x.r.Header); err != nil {
		return err
	}
	raw, err := x.readBody(call)
	if err != nil {
		return err
	}
	return decode(raw, in)
}

// decodeNothing reads the body of a call that has none: nothing at all, or an empty object.
func (x *exchange) decodeNothing(call *vault.Call) error {
	raw, err := x.readBody(call)
	if err != nil {
		return err
	}
	if len(raw) > 0 && decode(raw, new(struct{})) != nil {
		return fault.Bad(place(""), ruleEmpty)
	}
	return nil
}

// decodeAny reads a body that may be left out: nothing at all, or what decode reads.
func (x *exchange) decodeAny(call *vault.Call, in any) error {
	raw, err := x.readBody(call)
	if err != nil || len(raw) == 0 {
		return err
	}
	if err := jsonContent(x.r.Header); err != nil {
		return err
	}
	return decode(raw, in)
}

// jsonContent accepts application/json in UTF-8 and no content coding.
func jsonContent(h http.Header) error {
	if err := uncoded(h); err != nil {
		return err
	}
	if h.Get("Content-Type") == typeJSON[0] {
		return nil
	}
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || kind != typeJSON[0] || (params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8")) {
		return fault.New(fault.Unsupported, "the Content-Type must be application/json")
	}
	return nil
}

func uncoded(h http.Header) error {
	if _, coded := h["Content-Encoding"]; coded {
		return fault.New(fault.Unsupported, "bodies are taken without a Content-Encoding")
	}
	return nil
}

// firstRead bounds what a Content-Length reserves before a byte has come.
const firstRead = 64 << 10

// readBody reads the whole body into a pooled buffer that lives until the exchange ends. With an idempotency key, the
// key's scope (method and path) stands before the body in the same buffer and both are what a retry must repeat.
func (x *exchange) readBody(call *vault.Call) ([]byte, error) {
	if x.r.ContentLength > api.MaxBody {
		return nil, tooLarge(api.MaxBody)
	}
	x.in = buffers.Get().(*bytes.Buffer)
	if call.Key != "" {
		fmt.Fprintf(x.in, "%s %s\n", x.r.Method, x.r.URL.Path)
	}
	scope := x.in.Len()
	x.in.Grow(int(max(0, min(x.r.ContentLength, firstRead))) + bytes.MinRead)
	n, err := x.in.ReadFrom(io.LimitReader(x.body(), api.MaxBody+1))
	switch {
	case n > api.MaxBody:
		return nil, tooLarge(api.MaxBody)
	case err != nil:
		return nil, unread(err)
	}
	if call.Key != "" {
		call.Body = x.in.Bytes()
	}
	return x.in.Bytes()[scope:], nil
}

func tooLarge(limit int64) error {
	return fault.Newf(fault.TooLarge, "a body is at most %d bytes", limit)
}

// unread is the failure of a body that did not come whole, or not in time.
func unread(err error) error {
	return fault.Wrap(fault.Invalid, fault.Sender(err), "the body did not arrive whole and in time")
}

// decode reads one JSON value, strictly, into in. Its failures name a place and a rule.
func decode(raw []byte, in any) error {
	if err := sound(raw, reflect.TypeOf(in).Elem()); err != nil {
		return err
	}
	if err := json.Unmarshal(raw, in, strict); err != nil {
		return broken(raw, reflect.TypeOf(in).Elem(), err)
	}
	return nil
}

// sound finds what decoding into Go types would let pass or pay for dearly: null, and lists of more than MaxItems. Most
// bodies can have neither and are not walked.
func sound(raw []byte, t reflect.Type) error {
	if bytes.Count(raw, []byte(",")) < api.MaxItems && !bytes.Contains(raw, []byte("null")) {
		return nil
	}
	for d := jsontext.NewDecoder(bytes.NewBuffer(raw)); ; {
		token, err := d.ReadToken()
		if err != nil {
			if errors.Is(err, io.EOF) && d.InputOffset() > 0 {
				return nil
			}
			return broken(raw, t, err)
		}
		if token.Kind() == jsontext.KindNull {
			return fault.Bad(place(known(t, d.StackPointer())), ruleNull)
		}
		if kind, n := d.StackIndex(d.StackDepth()); kind == jsontext.KindBeginArray && n > api.MaxItems {
			return fault.Bad(place(known(t, d.StackPointer().Parent())), ruleItems)
		}
	}
}

// broken says where and which rule, from whatever the decoder says.
func broken(raw []byte, t reflect.Type, err error) error {
	if e, ok := errors.AsType[*json.SemanticError](err); ok {
		if errors.Is(e.Err, json.ErrUnknownName) {
			return fault.Bad(place(known(t, e.JSONPointer.Parent())), ruleUnknown)
		}
		return fault.Bad(place(known(t, e.JSONPointer)), rule(e.GoType))
	}
	where, what := "", ruleJSON
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		where = known(t, e.JSONPointer)
		if errors.Is(e.Err, jsontext.ErrDuplicateName) {
			where, what = known(t, e.JSONPointer.Parent()), ruleDuplicate
		}
	}
	if !utf8.Valid(raw) {
		what = ruleUTF8
	}
	return fault.Bad(place(where), what)
}

// rule says what a place of type t takes.
func rule(t reflect.Type) string {
	switch {
	case t == nil:
		return ruleJSON
	case t == reflect.TypeFor[time.Time]():
		return ruleTime
	case t == reflect.TypeFor[api.Value](), t == reflect.TypeFor[api.OneOrMany[api.Value]]():
		return ruleValue
	}
	switch t.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map, reflect.Pointer:
		return "an object"
	default:
		return ruleJSON
	}
}

// known returns the part of a JSON pointer into a t that the API defines, as items[3].fields: members of its types and
// places in their lists. It ends where the client chooses names, for those may be anything.
func known(t reflect.Type, p jsontext.Pointer) string {
	var path strings.Builder
	for token := range p.Tokens() {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch t.Kind() {
		case reflect.Struct:
			member, ok := member(t, token)
			if !ok {
				return path.String()
			}
			if path.Len() > 0 {
				path.WriteByte('.')
			}
			path.WriteString(token)
			t = member
		case reflect.Slice:
			if _, err := strconv.ParseUint(token, 10, 32); err != nil {
				return path.String()
			}
			path.WriteString("[" + token + "]")
			t = t.Elem()
		default:
			return path.String()
		}
	}
	return path.String()
}

// member finds the type of a struct's JSON member.
func member(t reflect.Type, name string) (reflect.Type, bool) {
	for f := range t.Fields() {
		if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); f.IsExported() && tag == name {
			return f.Type, true
		}
	}
	return nil, false
}

// place is how a problem names a place: its path, or "body" for all of it.
func place(path string) string {
	if path == "" {
		return "body"
	}
	return path
}
