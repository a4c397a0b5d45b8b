package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/sandyq/sandyq/deploy/sample"
	"github.com/sandyq/sandyq/vault/api"
)

// How the application goes about it.
const (
	demoPurpose = "registration" // what it registers and stores for
	readPurpose = "service"      // what it reads for
	readReason  = "demonstration"

	registerBatch   = 100 // people in a request
	registerWorkers = 4
	uploadWorkers   = 8
	readBatch       = 1000 // tokens in a request
	readWorkers     = 2

	shownPeople = 3
)

// register has the application send everybody in, in batches.
func (d *demo) register(ctx context.Context) error {
	bar := d.screen.bar("registering", len(d.people))
	pace, err := d.timed("register people", "people", len(d.people), func() error {
		workers, ctx := errgroup.WithContext(ctx)
		workers.SetLimit(registerWorkers)
		for batch := range slices.Chunk(d.people, registerBatch) {
			workers.Go(func() error {
				if err := d.registerBatch(ctx, batch); err != nil {
					return err
				}
				return bar.Add(len(batch))
			})
		}
		return workers.Wait()
	})
	if err != nil {
		return err
	}
	d.countTokens()
	d.report.People = len(d.people)
	complete, distinct := d.tokensComplete()
	d.claim("registered", complete, pace.String(), "%s people are stored: %s values, a token for each", grouped(len(d.people)), grouped(d.report.Values))
	d.claim("tokens_distinct", distinct, "", "No two of the tokens are alike")
	again, err := d.application.Tokenize(ctx, &api.TokenizeRequest{Purpose: demoPurpose, Items: []api.TokenizeItem{d.people[0].item}})
	if err != nil {
		return err
	}
	d.claim("same_tokens_again", sameTokens(again.Results[0], d.people[0]), "", "The same person sent in again is found and has the same tokens")
	d.showPeople()
	return nil
}

func (d *demo) registerBatch(ctx context.Context, batch []*registrant) error {
	request := &api.TokenizeRequest{Purpose: demoPurpose}
	for _, p := range batch {
		request.Items = append(request.Items, p.item)
	}
	out, err := d.application.Tokenize(ctx, request)
	if err != nil {
		return err
	}
	for i, result := range out.Results {
		if result.Error != nil {
			return result.Error.Err()
		}
		batch[i].subject, batch[i].tokens = result.Subject, result.Tokens
	}
	return nil
}

func (d *demo) countTokens() {
	d.report.Values, d.report.Tokens = 0, 0
	for _, p := range d.people {
		for _, values := range p.values {
			d.report.Values += len(values)
		}
		for _, tokens := range p.tokens {
			d.report.Tokens += len(tokens.Items)
		}
	}
}

// tokensComplete reports whether everybody has a token for each value, and whether no token was given twice.
func (d *demo) tokensComplete() (complete, distinct bool) {
	complete, distinct = true, true
	seen := map[string]bool{}
	for _, p := range d.people {
		for field, values := range p.values {
			complete = complete && len(p.tokens[field].Items) == len(values)
		}
		for _, tokens := range p.tokens {
			for _, token := range tokens.Items {
				distinct = distinct && !seen[token]
				seen[token] = true
			}
		}
	}
	return complete, distinct
}

func sameTokens(result api.TokenizeResult, p *registrant) bool {
	if result.Error != nil || result.Created || result.Subject != p.subject || len(result.Tokens) != len(p.tokens) {
		return false
	}
	for field, tokens := range p.tokens {
		if !slices.Equal(result.Tokens[field].Items, tokens.Items) {
			return false
		}
	}
	return true
}

// showPeople shows a few people and what the application keeps in place of their data.
func (d *demo) showPeople() {
	for _, p := range d.people[:min(shownPeople, len(d.people))] {
		d.screen.say("")
		d.screen.say("%s  %s", d.screen.paint(bold, "SYNTHETIC person"), d.screen.paint(faint, p.subject))
		for _, field := range []string{"iin", "family_name", "given_name", "phone", "email"} {
			if len(p.values[field]) > 0 {
				d.screen.pair(field, p.shownAs(field), p.first(field))
			}
		}
	}
}

// upload stores a document of everybody: the specimens, dealt out in turn.
func (d *demo) upload(ctx context.Context) error {
	specimens, err := sample.Specimens()
	if err != nil {
		return err
	}
	documents := folders(specimens)
	for i, p := range d.people {
		for _, s := range documents[i%len(documents)] {
			sum := sha256.Sum256(s.Bytes)
			p.scans = append(p.scans, scan{Specimen: s, sum: hex.EncodeToString(sum[:])})
			d.report.Scans++
			d.report.ScanBytes += int64(len(s.Bytes))
		}
	}
	d.report.Documents = len(d.people)
	intact := new(verdict)
	bar := d.screen.bar("uploading", d.report.Scans)
	pace, err := d.timed("upload scans", "scans", d.report.Scans, func() error {
		workers, ctx := errgroup.WithContext(ctx)
		workers.SetLimit(uploadWorkers)
		for _, p := range d.people {
			workers.Go(func() error {
				if err := d.uploadScans(ctx, p, intact); err != nil {
					return err
				}
				return bar.Add(len(p.scans))
			})
		}
		return workers.Wait()
	})
	if err != nil {
		return err
	}
	d.claim("uploaded", intact.held(), pace.String(), "%s scans, %s, each taken in with the SHA-256 it has here",
		grouped(d.report.Scans), megabytes(d.report.ScanBytes))
	return nil
}

// uploadScans uploads one person's document, part after part.
func (d *demo) uploadScans(ctx context.Context, p *registrant, intact *verdict) error {
	document := ""
	for i := range p.scans {
		s := &p.scans[i]
		up := uploadOf(s.Specimen)
		up.Document = document
		put, err := d.application.UploadDocument(ctx, p.subject, up, bytes.NewReader(s.Bytes))
		if err != nil {
			return err
		}
		intact.note(put.SHA256 == s.sum && put.Size == int64(len(s.Bytes)) && put.Part == i+1)
		document, s.token, s.part = put.Document, put.Token, put.Part
	}
	return nil
}

// verdict gathers what several goroutines find of one claim.
type verdict struct {
	mu     sync.Mutex
	noted  int
	broken int
}

func (v *verdict) note(holds bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.noted++
	if !holds {
		v.broken++
	}
}

// held reports whether something was found, and none of it against the claim.
func (v *verdict) held() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.noted > 0 && v.broken == 0
}
