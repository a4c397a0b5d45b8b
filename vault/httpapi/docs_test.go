package httpapi_test

import (
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault/httpapi"
)

// The page of docs/api.md has every route under a heading of its own, marked when it takes a key, with JSON that is what
// the route takes and answers.
func TestTheDocumentationIsOfTheseRoutes(t *testing.T) {
	b, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for section := range strings.SplitSeq(string(b), "\n### ") {
		heading, text, _ := strings.Cut(section, "\n")
		text, _, _ = strings.Cut(text, "\n## ")
		sections[heading] = text
	}
	for _, r := range httpapi.Routes() {
		heading := r.Method + " " + r.Pattern
		if r.Idempotent {
			heading += " ◆"
		}
		text, ok := sections[heading]
		if !ok {
			t.Errorf("there is no %q", heading)
			continue
		}
		delete(sections, heading)
		var want []reflect.Type
		for _, of := range []reflect.Type{r.In, r.Out} {
			if of != nil {
				want = append(want, of)
			}
		}
		blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(text, -1)
		if len(blocks) != len(want) {
			t.Errorf("%s has %d pieces of JSON, want %d", heading, len(blocks), len(want))
			continue
		}
		for i, of := range want {
			if err := json.Unmarshal([]byte(blocks[i][1]), reflect.New(of).Interface(), json.RejectUnknownMembers(true)); err != nil {
				t.Errorf("%s, JSON %d: %v", heading, i+1, err)
			}
		}
	}
	delete(sections, "# The HTTP API")
	for heading := range sections {
		t.Errorf("%q is no route", heading)
	}
	for code, status := range statuses {
		if row := "| `" + string(code) + "` | " + strconv.Itoa(status) + " |"; !strings.Contains(string(b), row) {
			t.Errorf("the table of codes has no %q", row)
		}
	}
}
