package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// screenWidth is where figures end, in characters, unless the terminal is narrower.
const screenWidth = 96

// screen is the demo as a person sees it. With --json it shows nothing.
type screen struct {
	out    io.Writer // io.Discard with --json
	bars   io.Writer // where progress is drawn; nil when nobody watches
	colour bool
	width  int
	acts   int
}

func newScreen(e *env) *screen {
	if e.json {
		return &screen{out: io.Discard}
	}
	s := &screen{out: e.out, width: screenWidth, colour: isTerminal(e.out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
	if isTerminal(e.err) && isTerminal(e.out) {
		s.bars = e.err
	}
	if f, ok := e.out.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil { // a terminal
			s.width = min(s.width, width)
		}
	}
	return s
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// The colours, as SGR parameters.
const (
	bold  = "1"
	faint = "2"
	red   = "31"
	green = "32"
	cyan  = "36"
)

func (s *screen) paint(sgr, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + sgr + "m" + text + "\x1b[0m"
}

// title says what is going to be seen.
func (s *screen) title(text, below string) {
	_, _ = fmt.Fprintf(s.out, "%s\n%s\n", s.paint(bold, text), s.paint(faint, below))
}

// act begins a section.
func (s *screen) act(title string) {
	s.acts++
	_, _ = fmt.Fprintf(s.out, "\n%s %s\n", s.paint(cyan, fmt.Sprintf("%2d", s.acts)), s.paint(bold, title))
}

// say writes an indented line.
func (s *screen) say(format string, args ...any) {
	_, _ = fmt.Fprintln(s.out, strings.TrimRight("     "+fmt.Sprintf(format, args...), " "))
}

// pair writes something and what it became.
func (s *screen) pair(name, left, right string) {
	s.say("%s  %s  %s", s.paint(faint, pad(name, 16)), pad(left, 30), s.paint(faint, right))
}

// claim writes a claim with a tick or a cross, and a figure at the right.
func (s *screen) claim(holds bool, text, figure string) {
	mark := s.paint(green, "✓")
	if !holds {
		mark, text = s.paint(red, "✗"), s.paint(red, text+" — DOES NOT HOLD")
	}
	gap := max(s.width-5-utf8.RuneCountInString(text)-utf8.RuneCountInString(figure), 2)
	if figure == "" {
		gap = 0
	}
	_, _ = fmt.Fprintf(s.out, "   %s %s%s%s\n", mark, text, strings.Repeat(" ", gap), s.paint(faint, figure))
}

// pad fills up with spaces to n characters.
func pad(s string, n int) string {
	return s + strings.Repeat(" ", max(n-utf8.RuneCountInString(s), 0))
}

// bar draws the progress of n things, if somebody watches. It is gone when they are done.
func (s *screen) bar(what string, n int) *progressbar.ProgressBar {
	out := s.bars
	if out == nil {
		out = io.Discard
	}
	return progressbar.NewOptions(n,
		progressbar.OptionSetWriter(out), progressbar.OptionSetVisibility(s.bars != nil),
		progressbar.OptionSetDescription("     "+what), progressbar.OptionSetWidth(40), progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
	)
}

// summary says what it came to and where the time went.
func (s *screen) summary(r *demoReport) error {
	holding := len(r.Checks) - len(r.broken())
	text := fmt.Sprintf("%d of %d claims hold", holding, len(r.Checks))
	if !r.OK {
		text = s.paint(red, text)
	}
	_, err := fmt.Fprintf(s.out, "\n%s in %s\n", s.paint(bold, text), brief(r.Seconds))
	for _, stage := range r.Stages {
		s.say("%s  %s  %s", pad(stage.Name, 34), leftPad(brief(stage.Seconds), 8), s.paint(faint, stage.pace()))
	}
	return err
}

func leftPad(s string, n int) string {
	return strings.Repeat(" ", max(n-utf8.RuneCountInString(s), 0)) + s
}
