package vault

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rowPackages hold the types of rows.
var rowPackages = []string{".", "audit/translog"}

// TestRowsAreOfTheLatestForm: the kinds of rows and the members of each are those that testdata/rows has for latestFormat. Whoever changes
// them gives the new ones a form of their own, so that a version which does not know them is never asked to read them.
func TestRowsAreOfTheLatestForm(t *testing.T) {
	want, err := os.ReadFile(filepath.Join("testdata", "rows", fmt.Sprintf("form-%d", latestFormat)))
	if err != nil {
		t.Fatalf("each form has its list: %v", err)
	}
	var have []string
	for _, dir := range rowPackages {
		have = append(have, rowsOf(t, dir)...)
	}
	listed := strings.Split(strings.TrimSuffix(string(want), "\n"), "\n")
	for _, line := range have {
		if !slices.Contains(listed, line) {
			t.Errorf("new: %s", line)
		}
	}
	for _, line := range listed {
		if !slices.Contains(have, line) {
			t.Errorf("gone: %s", line)
		}
	}
	if t.Failed() {
		t.Logf("see \"Changing what rows hold\" in CONTRIBUTING.md. The list as it would be:\n%s\n", strings.Join(have, "\n"))
	}
}

// TestTheListOfRowsSeesAMember: one more member, another type and a new kind are in it, and what no row has is not.
func TestTheListOfRowsSeesAMember(t *testing.T) {
	dir := t.TempDir()
	source := "package p\nconst kindThing = 'x' // → thing\nconst metaWhole = \"whole\"\nconst other = 'z'\n" +
		"type thing struct {\n\tparts []part `cbor:\"2,keyasint,omitempty\"`\n\tnote string\n}\ntype part map[string]size\ntype size int64\ntype apart int\n"
	if err := os.WriteFile(filepath.Join(dir, "p.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	want := []string{`. kind kindThing 'x'`, `. meta metaWhole "whole"`, `. part map[string]size`, `. size int64`, `. thing 2 []part omitempty`}
	got := rowsOf(t, dir)
	for i := range got {
		got[i] = strings.Replace(got[i], dir, ".", 1)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// rowsOf lists what a package says of rows: the constants that name kinds and the vault's own rows, the numbers and types of the members
// of each type that has any, and the package's own types of which those are made. A member may change its name.
func rowsOf(t *testing.T, dir string) (list []string) {
	t.Helper()
	sources, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]ast.Expr{}
	files := token.NewFileSet()
	for _, source := range sources {
		if strings.HasSuffix(source, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, source, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			general, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range general.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					types[spec.Name.Name] = spec.Type
				case *ast.ValueSpec:
					list = append(list, constantOf(general.Tok, spec)...)
				}
			}
		}
	}
	rows := rowTypes{types: types, listed: map[string]bool{}}
	for name, is := range types {
		if structure, ok := is.(*ast.StructType); ok && slices.ContainsFunc(structure.Fields.List, func(f *ast.Field) bool { return memberTag(f) != "" }) {
			rows.add(name)
		}
	}
	list = append(list, rows.list...)
	slices.Sort(list)
	for i, line := range list {
		list[i] = dir + " " + line
	}
	return list
}

// constantOf is what a constant says of rows, if it names a kind or one of the vault's own rows.
func constantOf(declares token.Token, spec *ast.ValueSpec) (list []string) {
	for i, name := range spec.Names {
		for _, class := range []string{"kind", "meta"} {
			if literal, ok := valueOf(spec, i).(*ast.BasicLit); ok && declares == token.CONST && strings.HasPrefix(name.Name, class) {
				list = append(list, class+" "+name.Name+" "+literal.Value)
			}
		}
	}
	return list
}

func valueOf(spec *ast.ValueSpec, i int) ast.Expr {
	if i < len(spec.Values) {
		return spec.Values[i]
	}
	return nil
}

// rowTypes lists types, and those that they are made of.
type rowTypes struct {
	types  map[string]ast.Expr
	listed map[string]bool
	list   []string
}

func (r *rowTypes) add(name string) {
	is := r.types[name]
	if is == nil || r.listed[name] {
		return
	}
	r.listed[name] = true
	structure, ok := is.(*ast.StructType)
	if !ok {
		r.list = append(r.list, name+" "+text(is))
		r.madeOf(is)
		return
	}
	for _, field := range structure.Fields.List {
		if tag := memberTag(field); tag != "" {
			number, options, _ := strings.Cut(tag, ",")
			_, options, _ = strings.Cut(options, ",") // keyasint
			r.list = append(r.list, strings.TrimSpace(name+" "+number+" "+text(field.Type)+" "+options))
			r.madeOf(field.Type)
		}
	}
}

func (r *rowTypes) madeOf(is ast.Expr) {
	ast.Inspect(is, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr: // of another package
			return false
		case *ast.Ident:
			r.add(n.Name)
		}
		return true
	})
}

// memberTag is the tag of a member of a row; empty for what is not one.
func memberTag(f *ast.Field) string {
	if f.Tag == nil {
		return ""
	}
	quoted, err := strconv.Unquote(f.Tag.Value)
	if err != nil {
		return ""
	}
	return reflect.StructTag(quoted).Get("cbor")
}

func text(is ast.Expr) string {
	var b bytes.Buffer
	_ = printer.Fprint(&b, token.NewFileSet(), is)
	return strings.Join(strings.Fields(b.String()), " ")
}
