package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault/api"
)

// table collects rows whose columns are aligned when they are written.
type table struct{ w *tabwriter.Writer }

// answerTable answers v in JSON with --json, otherwise the rows that fill writes.
func (e *env) answerTable(v any, fill func(table)) error {
	return e.answer(v, func(w io.Writer) error {
		t := table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
		fill(t)
		if err := t.w.Flush(); err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
		return nil
	})
}

// warn tells of what does not stop the command.
func (e *env) warn(text string) {
	if !e.json {
		_, _ = fmt.Fprintf(e.err, "sandyq: warning: %s\n", text)
		return
	}
	if b, err := json.Marshal(map[string]string{"warning": text}); err == nil {
		_, _ = fmt.Fprintf(e.err, "%s\n", b)
	}
}

// row adds a row; an empty cell becomes a dash.
func (t table) row(cells ...string) {
	for i, cell := range cells {
		if i > 0 {
			_, _ = io.WriteString(t.w, "\t")
		}
		if cell == "" {
			cell = "-"
		}
		_, _ = io.WriteString(t.w, printable(cell))
	}
	_, _ = io.WriteString(t.w, "\n")
}

// tokens adds a row for each token of a person, after cells that tell whose they are and stand in the first row only.
func (t table) tokens(tokens map[string]api.OneOrMany[string], whose ...string) {
	if len(tokens) == 0 {
		t.row(append(whose, "", "")...)
	}
	for _, field := range slices.Sorted(maps.Keys(tokens)) {
		for _, token := range tokens[field].Items {
			t.row(append(whose, field, token)...)
			whose = slices.Repeat([]string{" "}, len(whose))
		}
	}
}

// printable replaces what could steer a terminal or break a row.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// plain writes a value on one line.
func plain(v api.Value) string {
	if text, ok := v.Text(); ok {
		return text
	}
	parts, _ := v.Parts()
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		texts = append(texts, name+"="+parts[name])
	}
	return strings.Join(texts, ", ")
}

// failure writes the error of an item on one line.
func failure(e *api.ItemError) string { return "error: " + e.Err().Error() }

// moment writes a time in UTC, to the second.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}
