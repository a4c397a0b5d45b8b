package vault

import (
	"context"
	"errors"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/store"
)

// A canary drill shows, on the running vault, that whom it erases is gone from its backups too. It registers two people
// whom it made up, backs them up, erases one, has the certificate verified, restores the backup beside the vault, and sees
// in the restored copy that the one cannot be read, or found once the erasure ledger is replayed, and that the other can:
// a restore that brings back nothing proves nothing. Then the other is erased as well.
//
// Invariants:
//
//   - A drill erases nobody but whom it made. Their ids are drawn and written into the drill's row before they are
//     registered, the registration fails when anybody is known by their values already, and the erasure looks at the row,
//     and that no system holds them, in the Update that begins it.
//   - So whoever a drill leaves behind when its process falls is known, and erased by the next.
//   - One drill runs at a time, whatever the nodes: the row says until when it is somebody's.
//   - The log has everything that a drill does under operations that begin with drill., of the system that is the vault
//     itself, whose name no caller bears.
type Drills struct {
	Every time.Duration // how often one begins by itself; 0: only when asked to
	Dir   string        // a folder for drills and nothing else; it is there while one runs
	// Scratch opens a store and a blob store in an empty folder. close closes them.
	Scratch func(dir string) (rows store.Store, blobs blob.Store, close func() error, err error)
	Most    time.Duration // how long one may take before it has failed; default 5 min
}

const (
	defaultMostDrill = 5 * time.Minute
	drillClearing    = 2 * time.Minute  // in which it erases whom it made, after that
	drillCompares    = 10 * time.Second // in which a copy has compared the ledger: what came since the backup is little
	drillFirst       = 10 * time.Minute // after the start, in a vault that never had a drill
	drillSettled     = time.Minute      // after the start, at the earliest
	maxPastDrills    = 10               // that are remembered
)

// DrillID names a drill.
type DrillID [16]byte

const drillPrefix = "drl_"

func (d DrillID) String() string { return id.Encode(drillPrefix, d) }

// metaDrill is the row of drills.
const metaDrill = "drill"

// drillRow is the drill that runs, whom drills made, and what came of the last ones.
type drillRow struct {
	Run       DrillID     `cbor:"1,keyasint"` // zero: none runs
	Started   stamp       `cbor:"2,keyasint"` // the latest
	Until     stamp       `cbor:"3,keyasint"` // then its process has fallen
	People    []SubjectID `cbor:"4,keyasint"` // who is not known to be erased; who was never registered, too
	Succeeded stamp       `cbor:"5,keyasint"` // the end of the last that passed
	Past      []pastDrill `cbor:"6,keyasint"` // the latest first
}

// pastDrill is a drill that is over.
type pastDrill struct {
	Run     DrillID     `cbor:"1,keyasint"`
	Started stamp       `cbor:"2,keyasint"`
	Ended   stamp       `cbor:"3,keyasint"`
	Steps   []drillStep `cbor:"4,keyasint"`
	Failure string      `cbor:"5,keyasint,omitempty"` // the code of the first step that failed
}

// drillStep is a step that was gone through.
type drillStep struct {
	Step    string        `cbor:"1,keyasint"`
	Took    time.Duration `cbor:"2,keyasint"`
	Failure string        `cbor:"3,keyasint,omitempty"`
}

// drillFell is the failure of a drill whose process fell.
const drillFell = "fell"

// runs reports whether a drill is under way.
func (row *drillRow) runs(now stamp) bool { return row.Run != (DrillID{}) && now < row.Until }

// remember adds a drill that is over.
func (row *drillRow) remember(p pastDrill) {
	row.Past = append([]pastDrill{p}, row.Past...)
	row.Past = row.Past[:min(len(row.Past), maxPastDrills)]
}

// begin makes the row that of a new drill, with two people to be. One whose process fell has failed.
func (row *drillRow) begin(now stamp, most time.Duration) (left []SubjectID, made [2]SubjectID) {
	if row.Run != (DrillID{}) {
		row.remember(pastDrill{Run: row.Run, Started: row.Started, Ended: row.Until, Failure: drillFell})
	}
	left, made = row.People, [2]SubjectID{SubjectID(id.New()), SubjectID(id.New())}
	row.Run, row.Started, row.Until = DrillID(id.New()), now, stampOf(now.time().Add(most+drillClearing))
	row.People = append(append([]SubjectID(nil), left...), made[:]...)
	return left, made
}

// errDrilling ends a claim while another drill runs.
var errDrilling = errors.New("a drill is under way")

// RunDrill begins a canary drill, which goes on by itself. While one runs, that is the one answered.
func (s *Service) RunDrill(ctx context.Context, call Call) (*api.Drill, error) {
	return underRules(ctx, s, call, func(call Call) (*api.Drill, error) { return s.runDrill(ctx, call) })
}

func (s *Service) runDrill(ctx context.Context, call Call) (*api.Drill, error) {
	r := access.Request{Action: access.RunDrill}
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	if s.Drills == nil {
		return nil, fault.New(fault.Conflict, "this vault has no place for drills")
	}
	var made *drill
	_, err := s.act(ctx, call, func() (deed, error) {
		made = &drill{Service: s}
		return deed{request: r, effect: &draft{late: made.claim}}, nil
	})
	if errors.Is(err, errDrilling) { // nothing of this was written: what runs is shown, and that is what the log says
		return s.latestDrill(ctx, call)
	}
	if err != nil {
		return nil, err
	}
	select {
	case s.drilled <- made:
	case <-ctx.Done():
		return nil, ctx.Err() // it has failed once its time is over
	}
	return made.row.wire(), nil
}

// latestDrill shows the drill that runs, or ran last.
func (s *Service) latestDrill(ctx context.Context, call Call) (*api.Drill, error) {
	page, err := s.listDrills(ctx, call)
	if err != nil {
		return nil, err
	}
	if len(page.Items) == 0 {
		return nil, errContended
	}
	return &page.Items[0], nil
}

// ListDrills lists the drill that runs and the last ones, the latest first.
func (s *Service) ListDrills(ctx context.Context, call Call) (*api.Page[api.Drill], error) {
	return underRules(ctx, s, call, func(call Call) (*api.Page[api.Drill], error) { return s.listDrills(ctx, call) })
}

func (s *Service) listDrills(ctx context.Context, call Call) (*api.Page[api.Drill], error) {
	if err := s.consult(ctx, call, access.RunDrill); err != nil {
		return nil, err
	}
	row, err := s.drillRow(ctx)
	if err != nil {
		return nil, err
	}
	page := &api.Page[api.Drill]{Items: []api.Drill{}}
	if row.runs(stampOf(s.Clock())) {
		page.Items = append(page.Items, *row.wire())
	}
	for _, p := range row.Past {
		page.Items = append(page.Items, p.wire())
	}
	return page, nil
}

func (s *Service) drillRow(ctx context.Context) (row *drillRow, err error) {
	err = s.Store.View(ctx, func(r store.Reader) error {
		row, err = s.readDrills(r)
		return err
	})
	return row, err
}

// readDrills reads the row of drills; an empty one before the first.
func (s *Service) readDrills(r store.Reader) (*drillRow, error) {
	row, err := getRow[drillRow](r, s.rows.meta(metaDrill))
	if err == nil && row == nil {
		row = &drillRow{}
	}
	return row, err
}

// wire is the drill that runs.
func (row *drillRow) wire() *api.Drill {
	return &api.Drill{Drill: row.Run.String(), State: api.DrillRunning, StartedAt: row.Started.time(), Steps: []api.DrillStep{}}
}

func (p pastDrill) wire() api.Drill {
	d := api.Drill{
		Drill: p.Run.String(), State: api.DrillPassed, StartedAt: p.Started.time(), EndedAt: p.Ended.time(),
		Failure: p.Failure, Steps: []api.DrillStep{},
	}
	if p.Failure != "" {
		d.State = api.DrillFailed
	}
	for _, step := range p.Steps {
		d.Steps = append(d.Steps, api.DrillStep{Step: step.Step, Milliseconds: step.Took.Milliseconds(), Failure: step.Failure})
	}
	return d
}
