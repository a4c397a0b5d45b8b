package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/sandyq/sandyq/deploy/sample"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
)

// readScans is how many documents are read back.
const readScans = 100

// read turns every token back, and looks at the ways of reading one by one.
func (d *demo) read(ctx context.Context) error {
	for _, step := range []func(context.Context) error{d.detokenizeAll, d.mask, d.search, d.foreign, d.readDocuments} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// detokenizeAll reads every token of everybody and compares with what was registered.
func (d *demo) detokenizeAll(ctx context.Context) error {
	var tokens []string
	expected := map[string]api.Value{}
	for _, p := range d.people {
		p.issued(func(_, token string, value api.Value) {
			tokens = append(tokens, token)
			expected[token] = value
		})
	}
	found := new(verdict)
	pace, err := d.timed("detokenize", "values", len(tokens), func() error {
		workers, ctx := errgroup.WithContext(ctx)
		workers.SetLimit(readWorkers)
		for batch := range slices.Chunk(tokens, readBatch) {
			workers.Go(func() error {
				out, err := d.detokenize(ctx, api.Plain, batch...)
				if err != nil {
					return err
				}
				for _, r := range out {
					found.note(r.Error == nil && r.Value != nil && r.Value.Equal(expected[r.Token]))
				}
				return nil
			})
		}
		return workers.Wait()
	})
	if err != nil {
		return err
	}
	d.claim("detokenized", found.held() && found.noted == len(tokens), pace.String(), "Every token gives its value back: %s of them", grouped(len(tokens)))
	return nil
}

// detokenize reads as the application does.
func (d *demo) detokenize(ctx context.Context, form api.Form, tokens ...string) ([]api.DetokenizeResult, error) {
	out, err := d.application.Detokenize(ctx, &api.DetokenizeRequest{Purpose: readPurpose, Reason: readReason, Form: form, Tokens: tokens})
	if err != nil {
		return nil, err
	}
	return out.Results, nil
}

// mask reads one person plainly and masked.
func (d *demo) mask(ctx context.Context) error {
	p := d.people[0]
	fields := []string{"iin", "family_name", "phone"}
	var tokens []string
	for _, field := range fields {
		tokens = append(tokens, p.first(field))
	}
	masked, err := d.detokenize(ctx, api.Masked, tokens...)
	if err != nil {
		return err
	}
	hides := true
	for i, field := range fields {
		if masked[i].Error != nil || masked[i].Value == nil {
			return errors.Join(errors.New("a token could not be read masked"), masked[i].Error.Err())
		}
		hides = hides && !masked[i].Value.Equal(p.values[field][0]) && strings.Contains(plain(*masked[i].Value), "•••")
	}
	d.claim("masked", hides, "", "The same tokens give masked values to who needs no more")
	for i, field := range fields {
		d.screen.pair(field, plain(p.values[field][0]), plain(*masked[i].Value))
	}
	return nil
}

// search finds one person among all by IIN, and nobody by another's.
func (d *demo) search(ctx context.Context) error {
	p := d.people[len(d.people)/2]
	var results []api.SearchResult
	pace, err := d.timed("search by IIN", "", 0, func() (err error) {
		results, err = d.find(ctx, d.application, p.person.IIN)
		return err
	})
	if err != nil {
		return err
	}
	found := len(results) == 1 && results[0].Subject == p.subject && slices.Equal(results[0].Tokens["iin"].Items, p.tokens["iin"].Items)
	d.claim("searched", found, pace.String(), "An IIN finds its person and nobody else")
	strangers, err := sample.Holders()
	if err != nil {
		return err
	}
	nobody, err := d.find(ctx, d.application, strangers[0].IIN)
	if err != nil {
		return err
	}
	d.claim("search_misses", len(nobody) == 0, "", "An IIN that nobody registered finds nobody")
	return nil
}

func (d *demo) find(ctx context.Context, by *party, iin string) ([]api.SearchResult, error) {
	out, err := by.Search(ctx, &api.SearchRequest{Purpose: readPurpose, Reason: readReason, Field: "iin", Value: api.Text(iin)})
	if err != nil {
		return nil, err
	}
	return out.Results, nil
}

// foreign has another application try everybody's token of the IIN.
func (d *demo) foreign(ctx context.Context) error {
	tokens := tokensOfIIN(d.people)
	out, err := d.stranger.Detokenize(ctx, &api.DetokenizeRequest{Purpose: readPurpose, Reason: readReason, Tokens: tokens})
	if err != nil {
		return err
	}
	refused := len(out.Results) == len(tokens)
	for _, r := range out.Results {
		refused = refused && r.Value == nil && errors.Is(r.Error.Err(), fault.NotFound)
	}
	d.claim("tokens_private", refused, "", "In the hands of another application the tokens are nobody's")
	return nil
}

func tokensOfIIN(people []*registrant) []string {
	tokens := make([]string, len(people))
	for i, p := range people {
		tokens[i] = p.first("iin")
	}
	return tokens
}

// readEveryIIN reports whether the IINs of people come back right.
func (d *demo) readEveryIIN(ctx context.Context, people []*registrant) (bool, error) {
	out, err := d.detokenize(ctx, api.Plain, tokensOfIIN(people)...)
	if err != nil {
		return false, err
	}
	for i, r := range out {
		if r.Value == nil || !r.Value.Equal(people[i].values["iin"][0]) {
			return false, nil
		}
	}
	return len(out) == len(people), nil
}

// readDocuments reads scans back and compares their digests with those of the files.
func (d *demo) readDocuments(ctx context.Context) error {
	people := d.people[:min(readScans, len(d.people))]
	found := new(verdict)
	pace, err := d.timed("read scans", "scans", len(people), func() error {
		workers, ctx := errgroup.WithContext(ctx)
		workers.SetLimit(uploadWorkers)
		for _, p := range people {
			workers.Go(func() error {
				sum, err := d.readScan(ctx, p.scans[0])
				found.note(sum == p.scans[0].sum)
				return err
			})
		}
		return workers.Wait()
	})
	if err != nil {
		return err
	}
	d.claim("documents_read", found.held(), pace.String(), "Scans come back with the SHA-256 they had: %d of them", len(people))
	return nil
}

// readScan opens a scan, reads it to its end and gives its SHA-256.
func (d *demo) readScan(ctx context.Context, s scan) (string, error) {
	opened, err := d.application.OpenDocument(ctx, &api.OpenDocumentRequest{Token: s.token, Purpose: readPurpose, Reason: readReason, Part: s.part})
	if err != nil {
		return "", err
	}
	content, err := d.application.ReadDocument(ctx, opened)
	if err != nil {
		return "", err
	}
	digest := sha256.New()
	if _, err := io.Copy(digest, content); err != nil {
		return "", errors.Join(err, content.Close())
	}
	return hex.EncodeToString(digest.Sum(nil)), content.Close()
}
