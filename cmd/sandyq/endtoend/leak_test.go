package endtoend

import (
	"bytes"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
)

// TestNothingLeaks sends marked values in good requests and bad ones, and then looks for them in everything that the
// server has written, printed and answered in errors: store, documents, keyring, logs, metrics, problems.
func TestNothingLeaks(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	s := serve(t, home)
	marks := []string{
		"850312113646", "850312113645", "7011234567", "canary-mail", "Қанарейка", "canary-ref", "CANARYPIXELS", "canary-note", "canary-street",
	}
	jpeg := append([]byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00"), bytes.Repeat([]byte("CANARYPIXELS"), 1000)...)
	resp, err := s.Tokenize(ctx, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{{
		ExternalRef: "canary-ref", Fields: map[string]api.OneOrMany[api.Value]{
			"iin": api.One(api.Text("850312113646")), "given_name": api.One(api.Text("Қанарейка")),
			"phone": api.One(api.Text("+77011234567")), "email": api.One(api.Text("canary-mail@example.com")),
			"residence_address": api.One(api.Parts(map[string]string{"country": "KZ", "line": "canary-street 1"})),
		},
	}}})
	check(t, err)
	who := resp.Results[0]
	if who.Error != nil {
		t.Fatalf("%+v", who.Error)
	}
	_, err = s.UploadDocument(ctx, who.Subject, client.Upload{
		Kind: "identity_card", Side: "front", MediaType: "image/jpeg", Purpose: "registration", Capture: "digital",
	}, bytes.NewReader(jpeg))
	check(t, err)
	_, err = s.Reveal(ctx, who.Subject, &api.RevealRequest{Purpose: "service", Reason: "check", Note: "canary-note", Fields: []string{"iin"}})
	check(t, err)
	if _, err := s.Search(ctx, &api.SearchRequest{Purpose: "service", Reason: "check", Field: "iin", Value: api.Text("850312113646")}); err != nil {
		t.Fatal(err)
	}
	var answers strings.Builder
	token := strings.TrimSpace(string(read(t, filepath.Join(home, "dev.token"))))
	for _, body := range []string{
		`{"purpose":"registration","items":[{"fields":{"iin":"850312113645","given_name":"Қанарейка"}}]}`,
		`{"purpose":"registration","items":[{"fields":{"iin":850312113646}}]}`,
		`{"purpose":"850312113646","items":[{"fields":{"iin":"850312113646"}}]}`,
		`{"purpose":"registration","items":[{"fields":{"850312113646":"x","Қанарейка":"y"}}]}`,
		`{"purpose":"registration","850312113646":1,"items":[]}`,
		`{"purpose":"registration","items":[{"fields":{"email":"canary-mail"},"email":"canary-mail"}]}`,
		`{"purpose":"registration","items":[{"fields":{"iin":"850312113646","iin":"850312113646"}}]}`,
		`{"purpose":"registration","items":[{"fields":{"given_name":"Қанарейка` + "\xff" + `"}}]}`,
		`850312113646`, `{"purpose":"registration","items":[{"fields":{"iin":"850312113646"`,
		`{"purpose":"registration","items":[{"external_ref":"canary-ref\n","source":"Қанарейка","fields":{"given_name":"a"}}]}`,
	} {
		answers.WriteString(post(t, s, token, "/v1/tokenize", body))
	}
	answers.WriteString(post(t, s, token, "/v1/search", `{"purpose":"service","reason":"Қанарейка","field":"iin","value":"850312113645"}`))
	answers.WriteString(post(t, s, token, "/v1/nothing/850312113646?iin=850312113646", `{}`))
	metrics := get(t, "http://"+s.ops+"/metrics")
	if !strings.Contains(metrics, "sandyq_") {
		t.Fatal("no metrics")
	}
	s.stop(t)

	places := map[string]string{"answers to bad requests": answers.String(), "logs": s.output.String(), "metrics": metrics}
	files := 0
	check(t, filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files++
			places[path] = path + string(read(t, path))
		}
		return err
	}))
	if files < 10 {
		t.Fatalf("only %d files were looked at", files)
	}
	for place, content := range places {
		for _, mark := range marks {
			if strings.Contains(content, mark) {
				t.Errorf("%s: holds %q", place, mark)
			}
		}
		if strings.Contains(content, who.Tokens["iin"].Items[0]) && place == "logs" {
			t.Error("the logs hold a token")
		}
	}
	t.Logf("%d files, %d bytes of logs, %d of metrics, %d of problems", files, len(places["logs"]), len(metrics), answers.Len())
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	check(t, err)
	return b
}

// post sends a body that must not be processed whole, and returns the answer.
func post(t testing.TB, s *server, token, path, body string) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://"+s.address+path, strings.NewReader(body))
	check(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	check(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	check(t, err)
	if resp.StatusCode >= 500 {
		t.Errorf("%s: %d %s", path, resp.StatusCode, b)
	}
	return string(b)
}

func get(t testing.TB, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	check(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	check(t, err)
	return string(b)
}
