package main

import (
	"fmt"
	"time"
)

// demoReport is what demo --json answers: every figure and every check.
type demoReport struct {
	OK        bool           `json:"ok"` // every claim holds
	Synthetic bool           `json:"synthetic"`
	Build     build          `json:"build"`
	People    int            `json:"people"`
	Values    int            `json:"values"`
	Tokens    int            `json:"tokens"`
	Documents int            `json:"documents"`
	Scans     int            `json:"scans"`
	ScanBytes int64          `json:"scan_bytes"`
	Searched  leakReport     `json:"leak_scan"`
	Answers   map[string]int `json:"http_answers"` // by status
	Seconds   float64        `json:"seconds"`
	Stages    []stage        `json:"stages"`
	Checks    []check        `json:"checks"`
	Home      string         `json:"home,omitempty"`       // when it is kept
	Server    string         `json:"server,omitempty"`     // when it stays up
	TokenFile string         `json:"token_file,omitempty"` // likewise, an administrator's
}

// stage is a piece of work and its pace.
type stage struct {
	Name      string  `json:"name"`
	Seconds   float64 `json:"seconds"`
	Count     int     `json:"count,omitzero"`
	Unit      string  `json:"unit,omitempty"`
	PerSecond float64 `json:"per_second,omitzero"`
}

// String is what a person wants to know of it.
func (s stage) String() string {
	if s.Count == 0 {
		return brief(s.Seconds)
	}
	return brief(s.Seconds) + " · " + s.pace()
}

func (s stage) pace() string {
	if s.Count == 0 {
		return ""
	}
	return grouped(int(s.PerSecond)) + " " + s.Unit + "/s"
}

// check is a claim and whether it was found to hold.
type check struct {
	Name  string `json:"name"`
	Claim string `json:"claim"`
	Holds bool   `json:"holds"`
}

func (r *demoReport) finish(b build, took time.Duration) {
	r.Synthetic, r.Build, r.Seconds = true, b, took.Seconds()
	r.OK = len(r.broken()) == 0
}

// broken lists the claims that do not hold, by name.
func (r *demoReport) broken() []string {
	var names []string
	for _, c := range r.Checks {
		if !c.Holds {
			names = append(names, c.Name)
		}
	}
	return names
}

// brief writes seconds with as many digits as mean something.
func brief(seconds float64) string {
	switch {
	case seconds < 1:
		return fmt.Sprintf("%.0f ms", seconds*1000)
	case seconds < 10:
		return fmt.Sprintf("%.1f s", seconds)
	}
	return fmt.Sprintf("%.0f s", seconds)
}

// grouped writes a whole number with commas between thousands.
func grouped(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// megabytes writes a size for people.
func megabytes(n int64) string { return fmt.Sprintf("%.0f MB", float64(n)/1e6) }
