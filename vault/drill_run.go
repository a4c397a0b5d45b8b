package vault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/backup"
	"github.com/sandyq/sandyq/vault/store"
)

// drill is a drill that this process runs. It is one goroutine's.
type drill struct {
	*Service
	row   *drillRow    // as it was claimed
	left  []SubjectID  // of drills that fell
	made  [2]SubjectID // who is erased, and who is not until the copy was looked at
	fell  bool         // the drill before this one did
	steps []drillStep

	gone, stays standIn
	erasure     ErasureID
	identities  backup.Identities // open the backup, and exist here alone
	restored    restoredCopy
}

// The codes of what a drill finds wrong. What fails for another reason is drillBroke.
const (
	drillBroke       = "error"                // a part failed: the log has the reason
	drillLate        = "timeout"              // it took too long
	drillUnfit       = "no_purpose"           // no purpose fits: one that rests on no consent, and has documents and a field of a person
	drillReadable    = "erased_readable"      // whoever was erased can be read
	drillFindable    = "erased_findable"      // or is in the index
	drillStands      = "erased_stands"        // or a replayed copy does not know them as erased
	drillUnreadable  = "control_unreadable"   // whoever was not erased cannot be read: a restore that brings nothing back proves nothing
	drillUnfindable  = "control_unfindable"   // or is not in the index
	drillUnlisted    = "not_in_ledger"        // the erasure ledger lacks the erasure
	drillCertificate = "certificate_unproven" // the certificate does not verify, or certifies something else
	drillWithheld    = "copy_withheld"        // the copy gives nothing out: the ledger, its rows and the keys disagree
	drillHeld        = "held_by_others"       // a system holds whom the drill made: they are a drill's no more, and not erased
)

// drillFault is why a step failed.
type drillFault struct {
	code string
	err  error // may be nil
}

func (f *drillFault) Error() string {
	if f.err == nil {
		return f.code
	}
	return f.code + ": " + f.err.Error()
}

func (f *drillFault) Unwrap() error { return f.err }

func fails(code string, err error) error { return &drillFault{code, err} }

func failureOf(err error) string {
	if f, ok := errors.AsType[*drillFault](err); ok {
		return f.code
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return drillLate
	}
	return drillBroke
}

// claim makes the drill the one that runs. It may run again, until it is committed.
func (d *drill) claim(w store.Writer) error {
	row, err := d.readDrills(w)
	if err != nil {
		return err
	}
	now := stampOf(d.Clock())
	if row.runs(now) {
		return errDrilling
	}
	d.fell = row.Run != DrillID{}
	d.left, d.made = row.begin(now, d.Drills.Most)
	d.row = row
	return w.Set(d.rows.meta(metaDrill), encodeRow(row))
}

// run goes through the steps, erases whom it made whatever came of them, and writes down what did.
func (d *drill) run(ctx context.Context) {
	d.drilling.Store(d)
	defer d.drilling.Store(nil)
	if d.fell {
		d.Log.ErrorContext(ctx, "the last drill was not ended: its process fell, or was stopped")
		d.Observer.Drill(d.row.Succeeded.time(), true)
	}
	bounded, cancel := context.WithTimeout(ctx, d.Drills.Most)
	err := d.rehearse(bounded)
	cancel()
	bounded, cancel = context.WithTimeout(ctx, drillClearing/2)
	defer cancel()
	cleared := d.step(bounded, "clear", d.clear)
	if ctx.Err() != nil {
		return // the process ends: the next drill goes on from here
	}
	if err := d.finish(bounded, errors.Join(err, cleared)); err != nil {
		d.complain(ctx, "write down what came of a drill", err)
	}
}

// rehearse goes through the steps until one fails.
func (d *drill) rehearse(ctx context.Context) (err error) {
	if err := d.emptyDir(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.restored.close()) }()
	for _, s := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"leftovers", func(ctx context.Context) error { return d.eraseAll(ctx, d.left) }},
		{"register", d.register},
		{"backup", d.backUp},
		{"control", d.control},
		{"erase", d.eraseOne},
		{"certificate", d.checkCertificate},
		{"live", d.checkLive},
		{"restore", d.restore},
		{"copy", d.lookAtCopy},
		{"replay", d.lookAtReplayed},
	} {
		if err := d.step(ctx, s.name, s.do); err != nil {
			return err
		}
	}
	return nil
}

// step goes through one step.
func (d *drill) step(ctx context.Context, name string, do func(context.Context) error) error {
	began := d.Clock()
	err := do(ctx)
	at := drillStep{Step: name, Took: d.Clock().Sub(began)}
	if err != nil {
		at.Failure = failureOf(err)
		err = fmt.Errorf("%s: %w", name, err)
	}
	d.steps = append(d.steps, at)
	return err
}

// emptyDir makes the drills' folder, without what an earlier one left.
func (d *drill) emptyDir() error {
	err := os.RemoveAll(d.Drills.Dir)
	if err == nil {
		err = os.MkdirAll(d.Drills.Dir, 0o700)
	}
	if err != nil {
		return fmt.Errorf("make the folder of drills: %w", err)
	}
	return nil
}

// path is a place in the drills' folder.
func (d *drill) path(name string) string { return filepath.Join(d.Drills.Dir, name) }

// clear leaves nothing behind.
func (d *drill) clear(ctx context.Context) error {
	err := os.RemoveAll(d.Drills.Dir)
	return errors.Join(err, d.eraseAll(ctx, d.row.People))
}

// finish writes down what came of the drill: in its row, in the log, and to whoever is told of alerts.
func (d *drill) finish(ctx context.Context, failed error) error {
	past := pastDrill{Run: d.row.Run, Started: d.row.Started, Ended: stampOf(d.Clock()), Steps: d.steps}
	entry := &audit.Entry{System: itself, Operation: "drill.passed", Decision: audit.Allow, Objects: []string{d.row.Run.String()}}
	out := &draft{}
	raise := func() {}
	if failed != nil {
		past.Failure = failureOf(failed)
		entry.Operation, entry.Reason = "drill.failed", past.Failure
		raise = d.alert(out, api.Alert{Kind: alertDrill, System: itself, Operation: string(access.RunDrill), Object: past.Failure})
	}
	for _, s := range d.steps {
		if s.Failure != "" {
			entry.Objects = append(entry.Objects, s.Step+":"+s.Failure)
		} else {
			entry.Objects = append(entry.Objects, s.Step)
		}
	}
	var row *drillRow
	out.after(func(w store.Writer) (err error) {
		if row, err = d.readDrills(w); err != nil {
			return err
		}
		if row.Run != d.row.Run {
			return errors.New("its time was over, and another has begun")
		}
		row.Run, row.Until, row.People = DrillID{}, 0, d.row.People
		if failed == nil {
			row.Succeeded = past.Ended
		}
		row.remember(past)
		return w.Set(d.rows.meta(metaDrill), encodeRow(row))
	})
	if err := d.log(out, entry); err != nil {
		return err
	}
	if _, err := commit(store.With(ctx, store.Vital), d.Store, out); err != nil {
		return err
	}
	d.Observer.Drill(row.Succeeded.time(), failed != nil)
	if failed != nil {
		d.Log.ErrorContext(ctx, "a canary drill has failed: see docs/drill.md", "drill", d.row.Run.String(), "failure", past.Failure, "error", failed)
	} else {
		d.Log.InfoContext(ctx, "a canary drill has passed", "drill", d.row.Run.String(), "took", past.Ended.time().Sub(past.Started.time()).Round(time.Millisecond))
	}
	raise()
	return nil
}

// note writes an entry of a drill's into the log.
func (d *drill) note(ctx context.Context, what string, objects ...string) error {
	out := &draft{}
	err := d.log(out, &audit.Entry{System: itself, Operation: "drill." + what, Decision: audit.Allow, Objects: objects})
	if err == nil {
		_, err = commit(ctx, d.Store, out)
	}
	return err
}

// erased notes who is known to be erased, or was never registered.
func (d *drill) erased(id SubjectID) {
	d.row.People = slices.DeleteFunc(d.row.People, func(other SubjectID) bool { return other == id })
}
