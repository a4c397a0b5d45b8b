package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/vault/api"
)

// TestDrillByTheCommand: it shows its steps and passes, is listed, leaves nothing behind, and is not everybody's.
func TestDrillByTheCommand(t *testing.T) {
	administrator, crm, _ := desks(t)
	made := answer[api.TokenizeResponse](t, crm, exitDone, people, "tokenize", "--purpose", "registration").Results[0]
	r := administrator.run(t, "", "drill")
	if r.code != exitDone || !strings.Contains(r.out, " passed in ") || strings.Contains(r.out, "FAILED") {
		t.Fatalf("%+v", r)
	}
	for _, step := range []string{"register", "backup", "control", "erase", "certificate", "live", "restore", "copy", "replay", "clear"} {
		if !strings.Contains(r.out, "\n"+step+" ") {
			t.Errorf("it does not show %s: %s", step, r.out)
		}
	}
	second := answer[api.Drill](t, administrator, exitDone, "", "drill")
	if second.State != api.DrillPassed || second.Failure != "" {
		t.Errorf("%+v", second)
	}
	all := answer[api.Page[api.Drill]](t, administrator, exitDone, "", "drill", "list")
	if len(all.Items) != 2 || all.Items[0].Drill != second.Drill {
		t.Errorf("%+v", all)
	}
	if listed := administrator.run(t, "", "drill", "list"); listed.code != exitDone || !strings.Contains(listed.out, second.Drill) || !strings.Contains(listed.out, "passed") {
		t.Errorf("%+v", listed)
	}
	if refused := crm.run(t, "", "drill"); refused.code != exitFailed {
		t.Errorf("an application ran a drill: %+v", refused)
	}
	read := crm.run(t, made.Tokens["family_name"].Items[0], "detokenize", "--purpose", "service", "--reason", "test")
	if read.code != exitDone || !strings.Contains(read.out, "Сәрсенова") {
		t.Errorf("%+v", read)
	}

	dir := filepath.Join(filepath.Dir(administrator.tokenFile), "drill")
	if left, err := os.ReadDir(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a drill leaves its folder: %v %v", left, err)
	}
}

// TestADrillThatFailedIsToldAndCounts: the step that failed is shown, and the exit code is 1.
func TestADrillThatFailedIsToldAndCounts(t *testing.T) {
	failed := &api.Drill{
		Drill: "drl_1", State: api.DrillFailed, Failure: "erased_readable",
		Steps: []api.DrillStep{{Step: "erase", Milliseconds: 60}, {Step: "copy", Milliseconds: 7, Failure: "erased_readable"}},
	}
	var out, errs bytes.Buffer
	if err := writeDrill(&out, failed); err != nil {
		t.Fatal(err)
	}
	if said := out.String(); !strings.Contains(said, "FAILED: erased_readable") || !strings.Contains(said, "drl_1 failed in ") || strings.Count(said, "ok") != 1 {
		t.Error(said)
	}
	e := &env{out: &out, err: &errs, started: true}
	if code := e.report(failedDrill(failed)); code != exitFailed || !strings.Contains(errs.String(), "erased_readable") || !strings.Contains(errs.String(), "hint: ") {
		t.Errorf("%d %s", code, &errs)
	}
}
