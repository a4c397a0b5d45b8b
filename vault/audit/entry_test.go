package audit_test

import (
	"bytes"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/fault"
)

// TestThePageHasEveryMember: docs/formats.md lists an entry's members in their order, and marks those that are always there.
func TestThePageHasEveryMember(t *testing.T) {
	page, err := os.ReadFile("../../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Audit entry\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if !strings.Contains(section, "at most 8,192 bytes") || audit.MaxSize != 8192 {
		t.Errorf("the page does not say %d bytes", audit.MaxSize)
	}
	listed := regexp.MustCompile("(?m)^\\| `([a-z_]+)`( ●)? \\| (.*) \\| ").FindAllStringSubmatch(section, -1)
	members := reflect.TypeFor[audit.Entry]()
	if len(listed) != members.NumField() {
		t.Fatalf("%d members are listed, there are %d", len(listed), members.NumField())
	}
	for i, row := range listed {
		name, options, _ := strings.Cut(members.Field(i).Tag.Get("json"), ",")
		kind := map[reflect.Kind]string{reflect.Int: "number", reflect.Slice: "texts", reflect.Bool: "bool"}[members.Field(i).Type.Kind()]
		if kind == "" || name == "note" {
			kind = "text"
		}
		if row[1] != name || (row[2] != "") != (options == "") || row[3] != kind {
			t.Errorf("member %d is listed as %q, is %s %s", i+1, row[0], name, kind)
		}
	}
}

func TestEncode(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 30, 0, 123456000, time.UTC)
	e := audit.Entry{
		ID: audit.NewID(at).String(), At: at, System: "crm", Operation: "reveal", Fields: []string{"iin"}, Items: 1,
		Decision: audit.Deny, Outcome: fault.Blocked, Note: []byte{0, 255},
	}
	b, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var again audit.Entry
	if err := json.Unmarshal(b, &again, json.RejectUnknownMembers(true)); err != nil || !reflect.DeepEqual(again, e) {
		t.Errorf("%s is read as %+v: %v", b, again, err)
	}
	b, err = (&audit.Entry{}).Encode()
	if want := `{"id":"","at":"0001-01-01T00:00:00Z","system":"","operation":"","decision":""}`; err != nil || string(b) != want {
		t.Errorf("an empty entry is %s, %v", b, err)
	}
}

// TestTooLarge: an entry is as large as MaxSize at most, and the error does not say what is in it.
func TestTooLarge(t *testing.T) {
	b, err := (&audit.Entry{Reason: "r"}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	e := audit.Entry{Reason: strings.Repeat("r", audit.MaxSize-len(b)+1)}
	if b, err := e.Encode(); err != nil || len(b) != audit.MaxSize {
		t.Errorf("%d bytes: %v", len(b), err)
	}
	e.Reason += "r"
	if _, err := e.Encode(); err == nil || strings.Contains(err.Error(), "rrr") {
		t.Errorf("one byte more: %v", err)
	}
}

// TestIDsAscendWithTime, and FirstID parts those before a time from those at it.
func TestIDsAscendWithTime(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)
	first := audit.FirstID(at)
	before, of := audit.NewID(at.Add(-time.Microsecond)), audit.NewID(at)
	if bytes.Compare(before[:], first[:]) >= 0 || bytes.Compare(first[:], of[:]) > 0 {
		t.Errorf("%s, %s, %s do not ascend", before, first, of)
	}
	if again, err := audit.ParseID(of.String()); err != nil || again != of {
		t.Errorf("%s is read as %s: %v", of, again, err)
	}
	if of == audit.NewID(at) {
		t.Error("two entries of one moment have one id")
	}
}
