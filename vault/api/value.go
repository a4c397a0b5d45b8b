package api

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sandyq/sandyq/crypto/secret"
)

// Value is one personal value on the wire: a text, or named parts (an address). It shows itself to a JSON encoder and to
// nothing else: printing and logging a Value, or anything that holds one, gives [redacted].
type Value struct {
	text  secret.String
	parts map[string]secret.String // nil for a text
}

// Text makes a value of a text.
func Text(s string) Value { return Value{text: secret.NewString(s)} }

// Parts makes a value of named parts.
func Parts(m map[string]string) Value {
	parts := make(map[string]secret.String, len(m))
	for k, v := range m {
		parts[k] = secret.NewString(v)
	}
	return Value{parts: parts}
}

// Text returns the text; ok is false when the value has parts.
func (v Value) Text() (s string, ok bool) { return v.text.Expose(), v.parts == nil }

// Parts returns the parts; ok is false when the value is a text.
func (v Value) Parts() (m map[string]string, ok bool) {
	if v.parts == nil {
		return nil, false
	}
	m = make(map[string]string, len(v.parts))
	for k, s := range v.parts {
		m[k] = s.Expose()
	}
	return m, true
}

// Equal reports whether both are the same value.
func (v Value) Equal(w Value) bool {
	same := func(a, b secret.String) bool { return a.Expose() == b.Expose() }
	return same(v.text, w.text) && (v.parts == nil) == (w.parts == nil) && maps.EqualFunc(v.parts, w.parts, same)
}

// Format redacts under every verb.
func (v Value) Format(f fmt.State, r rune) { v.text.Format(f, r) }

// LogValue redacts.
func (v Value) LogValue() slog.Value { return v.text.LogValue() }

// MarshalJSONTo writes the value itself: a string, or an object with sorted keys.
func (v Value) MarshalJSONTo(e *jsontext.Encoder) error {
	if v.parts == nil {
		return e.WriteToken(jsontext.String(v.text.Expose()))
	}
	if err := e.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	for _, k := range slices.Sorted(maps.Keys(v.parts)) {
		if err := e.WriteToken(jsontext.String(k)); err != nil {
			return err
		}
		if err := e.WriteToken(jsontext.String(v.parts[k].Expose())); err != nil {
			return err
		}
	}
	return e.WriteToken(jsontext.EndObject)
}

// errValue names the rule without the value.
var errValue = errors.New("a value is a string, or an object of strings")

// UnmarshalJSONFrom reads a string or an object of strings.
func (v *Value) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	switch d.PeekKind() {
	case '"':
		var s string
		if err := json.UnmarshalDecode(d, &s); err != nil {
			return err
		}
		*v = Text(s)
	case '{':
		var m map[string]string
		if err := json.UnmarshalDecode(d, &m); err != nil {
			return errValue
		}
		*v = Parts(m)
	default:
		return errValue
	}
	return nil
}

// OneOrMany is a thing or a list of things: a field that may have many values accepts either and answers in kind.
type OneOrMany[T any] struct {
	Items []T
	List  bool // written as a list
}

// One makes a single item.
func One[T any](item T) OneOrMany[T] { return OneOrMany[T]{Items: []T{item}} }

// Many makes a list.
func Many[T any](items ...T) OneOrMany[T] { return OneOrMany[T]{Items: items, List: true} }

// MarshalJSONTo writes the item, or the list.
func (o OneOrMany[T]) MarshalJSONTo(e *jsontext.Encoder) error {
	if o.List {
		if o.Items == nil {
			return json.MarshalEncode(e, []T{})
		}
		return json.MarshalEncode(e, o.Items)
	}
	if len(o.Items) != 1 {
		return fmt.Errorf("api: one item expected, have %d", len(o.Items))
	}
	return json.MarshalEncode(e, o.Items[0])
}

// UnmarshalJSONFrom reads either form.
func (o *OneOrMany[T]) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() == '[' {
		o.List = true
		return json.UnmarshalDecode(d, &o.Items)
	}
	var item T
	if err := json.UnmarshalDecode(d, &item); err != nil {
		return err
	}
	*o = One(item)
	return nil
}
