package authn

import (
	"encoding/base64"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxToken is how long a bearer token may be, in bytes.
const maxToken = 8 << 10

// errToken is why a token is refused, for the log: in words that are the same for every token.
func errToken(why string) error { return errors.New("authn: token: " + why) }

// LooksLikeJWT tells a signed JWT (compact serialization, RFC 7515) from a service token by its shape alone.
func LooksLikeJWT(bearer string) bool {
	head, rest, _ := strings.Cut(bearer, ".")
	payload, signature, ok := strings.Cut(rest, ".")
	return ok && base64url(head) && base64url(payload) && base64url(signature)
}

func base64url(s string) bool {
	return s != "" && strings.IndexFunc(s, func(c rune) bool {
		return (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_'
	}) < 0
}

// Expires is when a token says that it expires. Nothing about the token is proved; it is for whoever owns it.
func Expires(token string) (time.Time, bool) {
	_, c, err := parse(token)
	if err != nil {
		return time.Time{}, false
	}
	at, ok, err := c.moment("exp")
	return at, ok && err == nil
}

// header is the part of a JOSE header that is looked at. Keys that a token brings along are not.
type header struct {
	Alg  string         `json:"alg"`
	Kid  string         `json:"kid"`
	Typ  string         `json:"typ"`
	Crit jsontext.Value `json:"crit"`
}

// parse takes a token apart and proves nothing. It refuses repeated names and what is not UTF-8, at any depth, so that no
// two readers of a token can read two things.
func parse(token string) (header, claims, error) {
	if len(token) > maxToken {
		return header{}, nil, errToken("larger than 8 KiB")
	}
	if !LooksLikeJWT(token) {
		return header{}, nil, errToken("not a signed JWT")
	}
	parts := strings.Split(token, ".")
	if _, err := encoding.DecodeString(parts[2]); err != nil {
		return header{}, nil, errToken("its signature does not decode")
	}
	var h header
	if err := decode(parts[0], &h); err != nil {
		return header{}, nil, errToken("its header does not decode")
	}
	if h.Crit != nil {
		return header{}, nil, errToken("has critical extensions (crit)")
	}
	var c claims
	if err := decode(parts[1], &c); err != nil || c == nil {
		return header{}, nil, errToken("its claims do not decode")
	}
	return h, c, nil
}

// encoding is that of the parts. One text is one token: no bits are left over that may be anything.
var encoding = base64.RawURLEncoding.Strict()

func decode(part string, v any) error {
	b, err := encoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// claims are what a token says, each in its JSON.
type claims map[string]jsontext.Value

// has reports whether a claim is there, whatever it holds.
func (c claims) has(name string) bool { _, ok := c[name]; return ok }

// text is a claim that is one text; empty when it is not there.
func (c claims) text(name string) (string, error) {
	raw, ok := c[name]
	if !ok {
		return "", nil
	}
	var s string
	if raw.Kind() != '"' || json.Unmarshal(raw, &s) != nil {
		return "", errToken(name + " is not a text")
	}
	return s, nil
}

// texts is a claim that is a text or a list of texts, by its name or by a path with dots between; nil when it is not there.
func (c claims) texts(path string) ([]string, error) {
	raw, ok := c[path]
	for !ok {
		name, rest, dotted := strings.Cut(path, ".")
		inside, there := c[name]
		if !dotted || !there {
			return nil, nil
		}
		var below claims
		if inside.Kind() != '{' || json.Unmarshal(inside, &below) != nil {
			return nil, errToken("a claim on the way to another is not an object")
		}
		c, path = below, rest
		raw, ok = c[path]
	}
	switch raw.Kind() {
	case '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return []string{s}, err
	case '[':
		var list []string
		var items []jsontext.Value
		if json.Unmarshal(raw, &items) == nil {
			for _, item := range items {
				var s string
				if item.Kind() != '"' || json.Unmarshal(item, &s) != nil {
					return nil, errToken("a list of texts holds something else")
				}
				list = append(list, s)
			}
			return list, nil
		}
	}
	return nil, errToken("a claim is neither a text nor a list of texts")
}

// maxSeconds bounds NumericDate, so that a time computed of it is one: the year 5138.
const maxSeconds = 1e11

// moment is a claim that is a NumericDate (RFC 7519, 2).
func (c claims) moment(name string) (at time.Time, ok bool, err error) {
	raw, ok := c[name]
	if !ok {
		return time.Time{}, false, nil
	}
	var seconds float64
	if raw.Kind() != '0' || json.Unmarshal(raw, &seconds) != nil || seconds < 0 || seconds > maxSeconds {
		return time.Time{}, false, errToken(name + " is not a time")
	}
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(part*1e9)), true, nil
}
