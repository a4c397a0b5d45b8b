package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/deploy/sample"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
)

// inspect reads the audit log, and looks for plaintext wherever the vault has written.
func (d *demo) inspect(ctx context.Context) error {
	if err := d.readLog(ctx); err != nil {
		return err
	}
	return d.lookForLeaks(ctx)
}

// readLog has staff read what the log says of the erased person.
func (d *demo) readLog(ctx context.Context) error {
	entries, err := d.entriesAbout(ctx, d.erasedID)
	if err != nil {
		return err
	}
	found := map[string]int{}
	for _, e := range entries {
		found[e.Operation+" "+string(e.Decision)]++
	}
	told := true
	for _, want := range []string{
		"tokenize allow", "document.put allow", "detokenize allow", "document.open allow", "search allow",
		"erasure.request allow", "erasure.key_destroyed allow", "erasure.erased allow",
	} {
		told = told && found[want] > 0
	}
	d.claim("audited", told, "", "The log tells of the erased person's whole stay: %d entries", len(entries))
	return nil
}

func (d *demo) entriesAbout(ctx context.Context, subject string) ([]audit.Entry, error) {
	raw, err := everyPage(func(cursor string) (*api.Page[api.AuditEntry], error) {
		return d.staff.AuditEntries(ctx, api.AuditQuery{Subject: subject, Limit: api.MaxLimit, Cursor: cursor})
	})
	if err != nil {
		return nil, err
	}
	entries := make([]audit.Entry, len(raw))
	for i := range raw {
		if err := json.Unmarshal(raw[i], &entries[i]); err != nil {
			return nil, fmt.Errorf("an audit entry: %w", err)
		}
	}
	return entries, nil
}

// lookForLeaks searches every file under the home (store, documents, keys, the copy, the server's log) and the metrics for
// what was registered.
func (d *demo) lookForLeaks(ctx context.Context) error {
	needles, err := d.plaintexts()
	if err != nil {
		return err
	}
	hunt := newHunt(needles)
	control, err := hunt.through(bytes.NewReader(sample.PeopleCSV()))
	if err != nil {
		return err
	}
	metrics, err := d.server.metrics(ctx)
	if err != nil {
		return err
	}
	pace, err := d.timed("leak scan", "", 0, func() error {
		inMetrics, err := hunt.through(strings.NewReader(metrics))
		if err != nil {
			return err
		}
		d.report.Searched, err = hunt.under(d.home)
		d.report.Searched.Values, d.report.Searched.Found = len(needles), d.report.Searched.Found+inMetrics
		return err
	})
	if err != nil {
		return err
	}
	d.claim("scan_finds", control >= len(d.people), "", "A search for %s plaintexts hits the list of people %s times",
		grouped(len(needles)), grouped(control))
	r := d.report.Searched
	d.claim("nothing_in_clear", r.Found == 0 && r.Files > len(d.people), pace.String(),
		"It finds none in what the vault wrote: %s files of %s, and metrics", grouped(r.Files), megabytes(r.Bytes))
	return nil
}

// plaintexts are values of the registered people as entered and as stored, and pieces of the scans. What is so short that
// chance could write it is left out, and so are digits that a time in a log could be.
func (d *demo) plaintexts() ([]string, error) {
	seen := map[string]bool{}
	add := func(s string) {
		if len(s) >= needleSize && (len(s) >= 11 || strings.Trim(s, "0123456789.,-") != "") {
			seen[s] = true
		}
	}
	for _, p := range d.people {
		add(p.item.ExternalRef)
		for _, name := range []string{"iin", "family_name", "given_name", "patronymic", "phone", "email", "postal_address", "residence_address"} {
			for _, v := range slices.Concat(p.item.Fields[name].Items, p.values[name]) {
				if parts, ok := v.Parts(); ok {
					add(parts["line"])
					continue
				}
				add(plain(v))
			}
		}
	}
	specimens, err := sample.Specimens()
	if err != nil {
		return nil, err
	}
	for _, s := range specimens {
		middle := len(s.Bytes) / 2
		add(string(s.Bytes[middle : middle+32]))
	}
	var all []string
	for s := range seen {
		all = append(all, s)
	}
	return all, nil
}

// metrics reads the metrics as a collector does.
func (s *demoServer) metrics(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.front.opsURL+"/metrics", nil)
	if err != nil {
		return "", fmt.Errorf("read the metrics: %w", err)
	}
	resp, err := s.tally.transport.RoundTrip(req)
	if err != nil {
		return "", fmt.Errorf("read the metrics: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read to its end
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", fmt.Errorf("read the metrics: %w", err)
	}
	return string(b), nil
}
