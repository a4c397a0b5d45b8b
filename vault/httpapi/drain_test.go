package httpapi_test

import (
	"fmt"
	"strings"
	"testing"
)

// One that announced that it waits, was told to go on, and is refused amid its body.
func TestARefusalAmidABodyReachesWhoAnnouncedIt(t *testing.T) {
	url, _ := serve(t, &service{})
	const size = 48 << 20
	got := raw(t, url, fmt.Sprintf("POST /v1/tokenize HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n",
		goodToken, size, strings.Repeat("x", size)))
	if !strings.Contains(got, "HTTP/1.1 413") {
		t.Errorf("%q", got)
	}
}
