package main

import (
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// bar shows how far something has come, where a person looks on.
type bar struct{ shown *progressbar.ProgressBar } // nil: nobody looks

// bar begins one of so many bytes; 0 or less when nobody knows how many.
func (e *env) bar(doing string, bytes int64) *bar {
	f, ok := e.err.(*os.File)
	if e.json || !ok || !term.IsTerminal(int(f.Fd())) {
		return &bar{}
	}
	if bytes <= 0 {
		bytes = -1
	}
	return &bar{progressbar.NewOptions64(bytes,
		progressbar.OptionSetWriter(f), progressbar.OptionSetDescription(doing), progressbar.OptionShowBytes(true),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())}
}

// add tells of more bytes.
func (b *bar) add(n int64) {
	if b.shown != nil {
		_ = b.shown.Add64(n) // nobody misses it
	}
}

// to tells how many bytes it is in all.
func (b *bar) to(n int64) {
	if b.shown != nil {
		_ = b.shown.Set64(n) // nobody misses it
	}
}

// end takes the bar away.
func (b *bar) end() {
	if b.shown != nil {
		_ = b.shown.Finish() // nobody misses it
	}
}
