package webhook_test

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sandyq/sandyq/vault/webhook"
)

var (
	key  = []byte("0123456789abcdef0123456789abcdef")
	noon = time.Unix(1793620800, 0)
)

// Signatures made by OpenSSL:
//
//	printf '%s' '1793620800.evt_01.{"type":"canary"}' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
//	printf '%s' '1793620800.evt-2.' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
//	printf '%s' '0.Z.бюджет' | openssl dgst -sha256 -mac HMAC -macopt hexkey:$(printf 'ff%.0s' $(seq 40))
var vectors = []struct {
	secret              []byte
	timestamp, id, body string
	signature           string
}{
	{key, "1793620800", "evt_01", `{"type":"canary"}`, "v1=0b1558f76886442ea1194e8c703485d749dd27df30b7d2fe68f2f0cf279604ff"},
	{key, "1793620800", "evt-2", "", "v1=278402a9ffb2db0f3bd2114b2cf2661722956856a31d0d8554bd59fba541122f"},
	{bytes.Repeat([]byte{0xff}, 40), "0", "Z", "бюджет", "v1=b5d5d1e48e3bff000d01364569089628f40496164df4a38708dce957e1d8f961"},
}

func headers(timestamp, id, signature string) http.Header {
	h := http.Header{}
	h.Set(webhook.HeaderTimestamp, timestamp)
	h.Set(webhook.HeaderID, id)
	h.Set(webhook.HeaderSignature, signature)
	return h
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		h := headers(v.timestamp, v.id, v.signature)
		at := noon
		if v.timestamp == "0" {
			at = time.Unix(0, 0)
		}
		if err := webhook.Verify(v.secret, h, []byte(v.body), at, 0); err != nil {
			t.Errorf("%s: %v", v.id, err)
		}
	}
}

// The two that are signed, but not as a sender writes it, were signed by OpenSSL as above.
func TestWhatIsNotAsSignedIsForged(t *testing.T) {
	v := vectors[0]
	signed := func() http.Header { return headers(v.timestamp, v.id, v.signature) }
	twice, none := signed(), signed()
	twice.Add(webhook.HeaderSignature, v.signature)
	none.Del(webhook.HeaderID)
	for name, got := range map[string]struct {
		header http.Header
		body   string
	}{
		"another body":              {signed(), v.body + " "},
		"another id":                {headers(v.timestamp, "evt_02", v.signature), v.body},
		"another time":              {headers("1793620801", v.id, v.signature), v.body},
		"a time with a zero":        {headers("01793620800", v.id, v.signature), v.body},
		"a signed time with a zero": {headers("01793620800", v.id, "v1=08e75530adbe260194c3820bb2e029b591897b0cfadaa691008225a5c2edc76d"), v.body},
		"a signed id with a dot":    {headers(v.timestamp, "evt_01.a", "v1=4f34e5d536bdbddb68ec535f30f9ca08305cda9da65caa718aa44a911eeda7bf"), "b"},
		"no time":                   {headers("", v.id, v.signature), v.body},
		"another signature":         {headers(v.timestamp, v.id, vectors[1].signature), v.body},
		"half a signature":          {headers(v.timestamp, v.id, v.signature[:35]), v.body},
		"another scheme":            {headers(v.timestamp, v.id, "v2"+v.signature[2:]), v.body},
		"capitals":                  {headers(v.timestamp, v.id, "v1="+strings.ToUpper(v.signature[3:])), v.body},
		"two signatures":            {twice, v.body},
		"no id":                     {none, v.body},
		"nothing":                   {http.Header{}, v.body},
		"a dot moved to the id":     {headers(v.timestamp, v.id+`.{"type":"canary"}`, v.signature), ""},
	} {
		if err := webhook.Verify(key, got.header, []byte(got.body), noon, time.Hour); !errors.Is(err, webhook.ErrForged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := bytes.Clone(key)
	other[0]++
	if err := webhook.Verify(other, signed(), []byte(v.body), noon, time.Hour); !errors.Is(err, webhook.ErrForged) {
		t.Errorf("another secret: %v", err)
	}
	if err := webhook.Verify(nil, signed(), []byte(v.body), noon, time.Hour); err == nil {
		t.Error("no secret at all passes")
	}
}

func TestStale(t *testing.T) {
	v := vectors[0]
	for off, want := range map[time.Duration]error{
		5 * time.Minute: nil, -5 * time.Minute: nil,
		5*time.Minute + time.Second: webhook.ErrStale, -5*time.Minute - time.Second: webhook.ErrStale,
	} {
		h := headers(v.timestamp, v.id, v.signature)
		if err := webhook.Verify(key, h, []byte(v.body), noon.Add(off), 5*time.Minute); !errors.Is(err, want) {
			t.Errorf("%s off: %v, want %v", off, err, want)
		}
	}
}

func FuzzVerify(f *testing.F) {
	v := vectors[0]
	f.Add(v.timestamp, v.id, v.signature, []byte(v.body))
	f.Add("-1", "", "v1=", []byte{})
	f.Fuzz(func(t *testing.T, timestamp, id, signature string, body []byte) {
		err := webhook.Verify(key, headers(timestamp, id, signature), body, noon, time.Minute)
		if err == nil && (timestamp != v.timestamp || id != v.id || signature != v.signature || string(body) != v.body) {
			t.Error("a forgery passes")
		}
	})
}

func TestBackoff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		attempt := rapid.IntRange(1, 100_000).Draw(t, "attempt")
		at := rapid.Float64Range(0, 0.9999).Draw(t, "at")
		low := webhook.Backoff(attempt, func() float64 { return 0 })
		d := webhook.Backoff(attempt, func() float64 { return at })
		if want := min(time.Second<<min(attempt-1, 20), 5*time.Minute); low != want || d < low || d >= 2*low {
			t.Fatalf("after attempt %d: %s to below twice that, %s at %v; want %s", attempt, low, d, at, want)
		}
	})
}
