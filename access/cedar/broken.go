package cedar

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Broken is the error of policies that do not compile: all that is wrong with them, a line each. A line may repeat the text
// it is about, so it is for who has the files; for anybody else there is Rules.
type Broken []Flaw

// Flaw is one thing that is wrong.
type Flaw struct {
	At   string // FILE, FILE:LINE or FILE:LINE:COLUMN; empty when it is about no file
	Rule string // that is broken, in words of this package and none of the text's

	full string // the line
}

func (b Broken) Error() string {
	lines := make([]string, len(b))
	for i, f := range b {
		lines[i] = f.full
	}
	return strings.Join(lines, "\n")
}

// Rules tells where policies break which rule, without repeating a word of them but the files' names.
func (b Broken) Rules() []string {
	var all []string
	for _, f := range b {
		rule := f.Rule
		if f.At != "" {
			rule = f.At + ": " + rule
		}
		if !slices.Contains(all, rule) {
			all = append(all, rule)
		}
	}
	return all
}

// flaw is one whose rule repeats nothing.
func flaw(at, rule string) Flaw {
	if at == "" {
		return Flaw{Rule: rule, full: rule}
	}
	return Flaw{at, rule, at + ": " + rule}
}

// placed is how the library says where in a file without a name it stopped reading.
var placed = regexp.MustCompile(`^parser error: (?:parse error at )?<input>:([0-9]+):([0-9]+)`)

// unparsed is why a file could not be read, with its name where the library says "<input>".
func unparsed(file string, err error) Flaw {
	said := err.Error()
	f := Flaw{At: file, full: file + ": " + said}
	if place := placed.FindStringSubmatch(said); place != nil {
		f.At = file + ":" + place[1] + ":" + place[2]
		said = said[len(place[0]):]
		f.full = f.At + said
		said = strings.TrimPrefix(said, " ")
		if token, err := strconv.QuotedPrefix(said); err == nil {
			said = said[len(token):]
		}
		said = strings.TrimPrefix(said, ": ")
	}
	f.Rule = inOurWords(said, "this is not Cedar")
	return f
}

// words is a rule of the library, which repeats the text it is about between a beginning and an end that never change.
type words struct{ begin, end, rule string }

// rules are the library's: of the parser, and then of the validator. Of what is not here no more is told than that the text
// is not Cedar, or breaks the schema.
var rules = slices.Concat(expected(), []words{
	{"unexpected effect: ", "", "a policy begins with permit or forbid"},
	{"expected ident or reserved keyword", "", "expected a name"},
	{"expected string literal", "", "expected a string"},
	{"expected string", "", "expected a string"},
	{"expected ident", "", "expected a name"},
	{"duplicate annotation: ", "", "an annotation is there twice"},
	{"duplicate key: ", "", "a key is there twice"},
	{"`", "is not a function", "there is no such function"},
	{"`", "is a method, not a function", "a method, not a function"},
	{"`", "is not a method", "there is no such method"},
	{"`", "is a function, not a method", "a function, not a method"},
	{"", "expects no arguments", "a method that expects no arguments"},
	{"", "expects one argument", "a method that expects one argument"},
	{"unexpected token", "", "this is not expected here"},
	{"invalid primary", "", "expected an expression"},
	{"literal not terminated", "", "a literal is not terminated"},
	{"comment not terminated", "", "a comment is not terminated"},
	{"invalid char escape", "", "a string has an escape that there is not"},

	{"unrecognized action ", "", "the schema has no such action"},
	{"unrecognized entity type ", "", "the schema has no such type"},
	{"there is no ", "", "the schema has no such role, category, field or resource"},
	{"attribute ", " not found", "the schema has no such attribute"},
	{"attribute ", "", "the schema has no such attribute there"},
	{"unable to guarantee safety of access to optional attribute ", "", "an attribute may be absent: ask with `has` first"},
	{"unable to find an applicable action ", "", "no action applies to these principals and resources"},
	{"empty set literals are forbidden in policies", "", "an empty set is not allowed"},
	{"extension constructors may not be called with non-literal expressions", "", "a constructor takes a literal only"},
	{"wrong number of arguments in extension function application", "", "a function has another number of arguments"},
	{"error during extension function argument validation", "", "a constructor's literal is malformed"},
	{"unexpected type: expected ", " but saw String", "a String is not of the type that is expected here"},
	{"unexpected type: expected ", " but saw Long", "a Long is not of the type that is expected here"},
	{"unexpected type: expected ", " but saw Bool", "a Bool is not of the type that is expected here"},
	{"unexpected type: expected ", "", "the type is not the one that is expected here"},
	{"incompatible types for least upper bound", "", "the types are not compatible"},
	{"record types have different attributes", "", "the types are not compatible"},
	{"record attributes have different optionality", "", "the types are not compatible"},
	{"entity types are incompatible", "", "the types are not compatible"},
	{"the types ", " are not compatible", "the types are not compatible"},
})

// expected is what the parser says when a word that must be there is not.
func expected() (all []words) {
	for _, word := range []string{"(", ")", "{", "}", "[", "]", ",", ";", ":", "principal", "action", "resource"} {
		all = append(all, words{"exact got ", " want " + word, "expected " + word}, words{"got ", " want " + word, "expected " + word})
	}
	return all
}

// inOurWords is the rule that the library names; otherwise when that is none of those known.
func inOurWords(said, otherwise string) string {
	for _, r := range rules {
		if len(said) >= len(r.begin)+len(r.end) && strings.HasPrefix(said, r.begin) && strings.HasSuffix(said, r.end) {
			return r.rule
		}
	}
	return otherwise
}

// against is a rule of the schema that a policy breaks.
func (p *policy) against(at, said string) Flaw {
	return Flaw{at, inOurWords(said, "this breaks the schema"), fmt.Sprintf("%s: policy %q: %s", at, p.id, said)}
}
