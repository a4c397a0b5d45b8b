package purpose_test

import (
	"os"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/vault/purpose"
	"github.com/sandyq/sandyq/vault/schema"
)

// The snippets of the documentation work as they stand there, and what is built in is told.
func TestDocumentation(t *testing.T) {
	b, err := os.ReadFile("../../docs/schema.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	snippets := 0
	for _, rest := range strings.Split(page, "```yaml\n")[1:] {
		snippet, _, _ := strings.Cut(rest, "```")
		snippets++
		if strings.HasPrefix(snippet, "fields:") {
			_, err = schema.Parse(strings.NewReader(snippet))
		} else {
			_, err = purpose.Parse(strings.NewReader(snippet), schema.Default())
		}
		if err != nil {
			t.Errorf("snippet %d: %v", snippets, err)
		}
	}
	if snippets != 2 {
		t.Errorf("%d snippets", snippets)
	}
	var told []string
	for _, f := range schema.Default().Fields() {
		told = append(told, f.Name, string(f.Type), string(f.MaskRule))
	}
	for _, p := range purpose.Default().All() {
		told = append(told, p.Name, p.Basis.Name, string(p.Retention.After))
	}
	for _, name := range told {
		if !strings.Contains(page, "`"+name+"`") && !strings.Contains(page, " "+name+" ") {
			t.Errorf("the page does not tell %s", name)
		}
	}
}
