package httpapi_test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v4"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/httpapi"
)

// node is an object of openapi.yaml.
type node = map[string]any

// description is openapi.yaml and what of it the routes have led to.
type description struct {
	t       *testing.T
	root    node
	reached map[string]bool // components that something points at
}

func describe(t *testing.T) *description {
	t.Helper()
	b, err := os.ReadFile("../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d := &description{t: t, reached: map[string]bool{}}
	if err := yaml.Unmarshal(b, &d.root); err != nil {
		t.Fatal(err)
	}
	return d
}

// at follows a path of names; nil when there is nothing.
func at(n node, path ...string) node {
	for _, name := range path {
		n, _ = n[name].(node)
	}
	return n
}

// resolve follows a reference, if n is one.
func (d *description) resolve(n node) node {
	ref, ok := n["$ref"].(string)
	if !ok {
		return n
	}
	d.reached[ref] = true
	target := at(d.root, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	if target == nil {
		d.t.Errorf("%s leads nowhere", ref)
	}
	return target
}

func texts(v any) []string {
	var out []string
	list, _ := v.([]any)
	for _, item := range list {
		out = append(out, fmt.Sprint(item))
	}
	slices.Sort(out)
	return out
}

func TestTheDescriptionIsOfTheseRoutes(t *testing.T) {
	d := describe(t)
	described := map[string]bool{}
	for path, item := range at(d.root, "paths") {
		for method := range item.(node) {
			if method != "parameters" {
				described[strings.ToUpper(method)+" "+path] = true
			}
		}
	}
	for _, r := range httpapi.Routes() {
		t.Run(r.Operation, func(t *testing.T) {
			d.t = t
			if !described[r.Method+" "+r.Pattern] {
				t.Fatalf("%s %s is not described", r.Method, r.Pattern)
			}
			delete(described, r.Method+" "+r.Pattern)
			item := at(d.root, "paths", r.Pattern)
			op := at(item, strings.ToLower(r.Method))
			if op["operationId"] != r.Operation {
				t.Errorf("operationId %v", op["operationId"])
			}
			d.parameters(r, item, op)
			d.request(r, op)
			d.answers(r, op)
		})
	}
	d.t = t
	for route := range described {
		t.Errorf("%s is described and not served", route)
	}
	for kind, components := range at(d.root, "components") {
		for name := range components.(node) {
			if ref := "#/components/" + kind + "/" + name; kind != "securitySchemes" && !d.reached[ref] {
				t.Errorf("%s is used by nothing", ref)
			}
		}
	}
}

func (d *description) parameters(r httpapi.Route, item, op node) {
	places := map[string][]string{}
	all, _ := item["parameters"].([]any)
	own, _ := op["parameters"].([]any)
	for _, p := range slices.Concat(all, own) {
		parameter := d.resolve(p.(node))
		place := parameter["in"].(string)
		places[place] = append(places[place], parameter["name"].(string))
	}
	for _, got := range places {
		slices.Sort(got)
	}
	var segments []string
	for s := range strings.SplitSeq(r.Pattern, "/") {
		if strings.HasPrefix(s, "{") {
			segments = append(segments, strings.Trim(s, "{}"))
		}
	}
	slices.Sort(segments)
	if !slices.Equal(places["path"], segments) {
		d.t.Errorf("path parameters %v, want %v", places["path"], segments)
	}
	if want := slices.Sorted(slices.Values(r.Query)); !slices.Equal(places["query"], want) {
		d.t.Errorf("query parameters %v, want %v", places["query"], want)
	}
	if slices.Contains(places["header"], api.HeaderIdempotencyKey) != r.Idempotent {
		d.t.Errorf("the Idempotency-Key is described: %t, taken: %t", !r.Idempotent, r.Idempotent)
	}
}

func (d *description) request(r httpapi.Route, op node) {
	media := at(op, "requestBody", "content", "application/json")
	if (media != nil) != (r.In != nil) {
		d.t.Fatalf("a JSON body is described: %t", media != nil)
	}
	if media != nil {
		d.schema("request", r.In, media["schema"].(node), true)
		d.example("request", r.In, media)
	}
}

func (d *description) answers(r httpapi.Route, op node) {
	answers := at(op, "responses")
	if ref := at(answers, "default")["$ref"]; ref != "#/components/responses/Problem" {
		d.t.Errorf("the default answer is %v", ref)
	}
	problem := d.resolve(at(answers, "default"))
	media := at(problem, "content", "application/problem+json")
	d.schema("problem", reflect.TypeFor[api.Problem](), media["schema"].(node), false)
	d.example("problem", reflect.TypeFor[api.Problem](), media)
	if r.Out == nil {
		for status := range answers {
			d.resolve(at(answers, status))
		}
		if at(answers, strconv.Itoa(r.Status)) == nil {
			d.t.Errorf("no answer %d is described", r.Status)
		}
		return
	}
	for status := range answers {
		if status != "default" && status != strconv.Itoa(r.Status) && (status != "202" || !r.Waits) {
			d.t.Errorf("an answer %s is described", status)
		}
	}
	if r.Waits {
		d.success(r, answers, http.StatusAccepted)
	}
	d.success(r, answers, r.Status)
}

// success checks the answer of one status.
func (d *description) success(r httpapi.Route, answers node, status int) {
	answer := d.resolve(at(answers, strconv.Itoa(status)))
	d.resolve(at(answer, "headers", api.HeaderRequestID))
	media := at(answer, "content", "application/json")
	if media == nil {
		d.t.Fatalf("no answer %d is described", status)
	}
	d.schema("answer", r.Out, media["schema"].(node), false)
	d.example("answer", r.Out, media)
}

// schema compares a schema with the type that is written or read. Requests are closed, answers may grow.
func (d *description) schema(where string, t reflect.Type, n node, closed bool) {
	n = d.resolve(n)
	want := func(kind string) {
		if n["type"] != kind {
			d.t.Errorf("%s is described as %v, is a %s", where, n["type"], kind)
		}
	}
	switch t {
	case reflect.TypeFor[time.Time]():
		want("string")
		if n["format"] != "date-time" {
			d.t.Errorf("%s has the format %v", where, n["format"])
		}
		return
	case reflect.TypeFor[jsontext.Value]():
		want("object")
		return
	case reflect.TypeFor[api.Value](), reflect.TypeFor[api.OneOrMany[api.Value]](), reflect.TypeFor[api.OneOrMany[string]]():
		d.alternatives(where, t, n)
		return
	case reflect.TypeFor[fault.Code]():
		for _, code := range texts(n["enum"]) {
			if httpapi.Status(fault.Code(code)) == 500 && code != "internal" {
				d.t.Errorf("%s: there is no code %s", where, code)
			}
		}
		if len(texts(n["enum"])) != 15 {
			d.t.Errorf("%s has %d codes", where, len(texts(n["enum"])))
		}
	}
	switch t.Kind() {
	case reflect.Pointer:
		d.schema(where, t.Elem(), n, closed)
	case reflect.String:
		want("string")
	case reflect.Bool:
		want("boolean")
	case reflect.Int, reflect.Int64:
		want("integer")
	case reflect.Slice:
		want("array")
		if most, err := strconv.Atoi(fmt.Sprint(n["maxItems"])); closed && (err != nil || most < 1 || most > api.MaxItems) {
			d.t.Errorf("%s takes %v items", where, n["maxItems"])
		}
		d.schema(where+"[]", t.Elem(), at(n, "items"), closed)
	case reflect.Map:
		want("object")
		d.schema(where+".*", t.Elem(), at(n, "additionalProperties"), closed)
	case reflect.Struct:
		want("object")
		d.object(where, t, n, closed)
	default:
		d.t.Errorf("%s is a %v", where, t)
	}
}

func (d *description) object(where string, t reflect.Type, n node, closed bool) {
	if closed && n["additionalProperties"] != false {
		d.t.Errorf("%s takes unknown members", where)
	}
	var members, required []string
	properties := at(n, "properties")
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		members = append(members, name)
		if options == "" {
			required = append(required, name)
		}
		if property := at(properties, name); property != nil {
			d.schema(where+"."+name, f.Type, property, closed)
		}
	}
	slices.Sort(members)
	slices.Sort(required)
	if got := slices.Sorted(maps.Keys(properties)); !slices.Equal(got, members) {
		d.t.Errorf("%s has the members %v, described are %v", where, members, got)
	}
	if got := texts(n["required"]); !slices.Equal(got, required) {
		d.t.Errorf("%s requires %v, described as required are %v", where, required, got)
	}
}

// alternatives checks the types that are written in more than one way.
func (d *description) alternatives(where string, t reflect.Type, n node) {
	var kinds []string
	alternatives, _ := n["oneOf"].([]any)
	for _, a := range alternatives {
		kinds = append(kinds, at(node{"a": a}, "a")["type"].(string))
		if items := at(a.(node), "items"); items != nil {
			d.resolve(items)
		}
	}
	slices.Sort(kinds)
	want := map[reflect.Type][]string{
		reflect.TypeFor[api.Value]():                {"object", "string"},
		reflect.TypeFor[api.OneOrMany[api.Value]](): {"array", "object", "string"},
		reflect.TypeFor[api.OneOrMany[string]]():    {"array", "string"},
	}[t]
	if !slices.Equal(kinds, want) {
		d.t.Errorf("%s is one of %v, want %v", where, kinds, want)
	}
}

// example reads a media type's example as what it is an example of, strictly, and writes it back.
func (d *description) example(where string, t reflect.Type, media node) {
	example, ok := media["example"]
	if !ok {
		d.t.Errorf("%s has no example", where)
		return
	}
	b, err := json.Marshal(example, json.Deterministic(true))
	if err != nil {
		d.t.Fatal(err)
	}
	v := reflect.New(t)
	if err := json.Unmarshal(b, v.Interface(), json.RejectUnknownMembers(true)); err != nil {
		d.t.Errorf("%s: the example: %v", where, err)
		return
	}
	again, err := json.Marshal(v.Interface(), json.Deterministic(true))
	if err != nil {
		d.t.Fatal(err)
	}
	for name := range example.(node) {
		if !strings.Contains(string(again), strconv.Quote(name)+":") {
			d.t.Errorf("%s: the example's %s is lost", where, name)
		}
	}
}
