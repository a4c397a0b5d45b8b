package cedar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sandyq/sandyq/access"
)

// Directory decides by the policies of a folder, and takes the folder's new policies when it changes: all of them at once,
// when every one is valid, or none. It is safe for concurrent use; close it.
//
// The folder is looked at once a second, beside the decisions, and read when it has looked the same twice: a file that is
// being written is not read, nor a set of which half is there, unless the writer rests longer.
type Directory struct {
	dir     string
	options Options
	log     *slog.Logger
	engine  atomic.Pointer[Engine]

	end  context.CancelFunc
	done chan struct{} // closed when the watch has ended
}

// OpenDirectory reads the *.cedar files of a folder, which must be valid, and watches it. The log is told of every change
// that is taken, and once of each that is not, and why.
func OpenDirectory(dir string, o Options, log *slog.Logger) (*Directory, error) {
	found, err := list(dir)
	if err != nil {
		return nil, fmt.Errorf("read the policies: %w", err)
	}
	d := &Directory{dir: dir, options: o, log: log, done: make(chan struct{})}
	if err := d.take(found); err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(context.Background())
	d.end = end
	go d.watch(ctx, found)
	return d, nil
}

// Close ends the watch. Decisions go on by the set in force.
func (d *Directory) Close() {
	d.end()
	<-d.done
}

// Engine is the set in force.
func (d *Directory) Engine() *Engine { return d.engine.Load() }

// Decide answers by the set in force.
func (d *Directory) Decide(ctx context.Context, r access.Request) (access.Decision, error) {
	return d.Engine().Decide(ctx, r)
}

// errInvalid marks what no second look at the same files would change.
type errInvalid struct{ error }

func (e errInvalid) Unwrap() error { return e.error }

// take puts the policies of a listing in force.
func (d *Directory) take(found listing) error {
	files, err := found.read(d.dir)
	if err != nil {
		return fmt.Errorf("read the policies: %w", err)
	}
	e, err := Compile(files, d.options)
	if err != nil {
		return errInvalid{err}
	}
	d.engine.Store(e)
	return nil
}

// lookEvery is how often the folder is looked at.
const lookEvery = time.Second

func (d *Directory) watch(ctx context.Context, found listing) {
	defer close(d.done)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	w := watched{Directory: d, judged: found, last: found}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.look()
		}
	}
}

// watched is what the watch remembers from one look to the next.
type watched struct {
	*Directory
	judged listing // in force, or not valid
	last   listing
	told   string // the last complaint, until there is none
}

func (w *watched) look() {
	found, err := list(w.dir)
	settled := err == nil && found.same(w.last)
	w.last = found
	switch {
	case err != nil:
		w.complain(err)
	case !settled:
	case found.same(w.judged):
		w.told = ""
	default:
		w.judge(found)
	}
}

// judge takes what was found; what could be read otherwise another time is judged again at the next look.
func (w *watched) judge(found listing) {
	err := w.take(found)
	_, invalid := errors.AsType[errInvalid](err)
	if err == nil || invalid {
		w.judged = found
	}
	switch {
	case err == nil:
		w.told = ""
		w.log.Info("the policies of the folder are in force", "dir", w.dir, "policies", len(w.Engine().policies))
	case !errors.Is(err, errMoving):
		w.complain(err)
	}
}

// complain tells the log why the set in force stays, once.
func (w *watched) complain(err error) {
	if w.told != err.Error() {
		w.log.Error("the policies in force stay: those of the folder cannot be taken", "dir", w.dir, "error", err)
	}
	w.told = err.Error()
}
