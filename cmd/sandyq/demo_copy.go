package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/metrics"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
)

// copied is the configuration of the copy: its own store and documents, and the keyring of the home.
func (d *demo) copied() config {
	c := d.config
	c.Store.Badger.Dir = filepath.Join(d.copyDir(), "store")
	c.Blobs.File.Dir = filepath.Join(d.copyDir(), "documents")
	c.dev = true // decided as by the server whose copy it is, so that a refusal is the copy's own
	return c
}

// copyHome copies the store and the documents as a backup would: the server is stopped for it, because files that change
// while they are copied make no store.
func (d *demo) copyHome(ctx context.Context) error {
	pace, err := d.timed("stop, copy, start", "", 0, func() error {
		if err := d.server.halt(); err != nil {
			return err
		}
		if err := d.copyFolders(); err != nil {
			return fmt.Errorf("copy the store and the documents: %w", err)
		}
		return d.server.start(ctx)
	})
	if err != nil {
		return err
	}
	same, err := d.readEveryIIN(ctx, d.people)
	if err != nil {
		return err
	}
	d.claim("restarted", same, pace.String(), "Stopped, store and documents copied, started again: all are there")
	keys, err := fileNames(d.config.keysDir())
	if err != nil {
		return err
	}
	copies, err := fileNames(d.copyDir())
	if err != nil {
		return err
	}
	apart := len(keys) > len(d.people)
	for name := range keys {
		apart = apart && !copies[name]
	}
	d.claim("keys_not_copied", apart, "", "None of the %s files of the keys is in the copy, as none belongs in a backup", grouped(len(keys)))
	return nil
}

// fileNames are the names of the files below a directory.
func fileNames(dir string) (map[string]bool, error) {
	names := map[string]bool{}
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			names[entry.Name()] = true
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the files: %w", err)
	}
	return names, nil
}

func (d *demo) copyFolders() error {
	if err := privateDir(d.copyDir()); err != nil {
		return err
	}
	c := d.copied()
	return errors.Join(
		os.CopyFS(c.storeDir(), os.DirFS(d.config.storeDir())),
		os.CopyFS(c.documentsDir(), os.DirFS(d.config.documentsDir())),
	)
}

// openCopy opens the copy with the live keyring, and tries to read from it the person who was erased since, and one who
// was not.
func (d *demo) openCopy(ctx context.Context) (err error) {
	b := readBuild()
	var n *node
	pace, err := d.timed("open the copy", "", 0, func() (err error) {
		n, err = openNode(ctx, d.copied(), d.server.log, metrics.New(b.Version, b.Revision))
		return err
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	who, err := n.first().Service.Authenticate(ctx, vault.Presented{Bearer: d.application.secret})
	if err != nil {
		return err
	}
	c := copyReader{n.first().Service, vault.Call{Principal: who, RequestID: "demo"}}
	there, err := c.holds(ctx, d.erased(), d.remaining())
	if err != nil {
		return err
	}
	scans, err := fileNames(d.copied().documentsDir())
	if err != nil {
		return err
	}
	d.claim("copy_has_both", there && len(scans) == d.report.Scans, pace.String(), "It still has the rows and scans of the erased person")
	readable, err := c.reads(ctx, d.remaining())
	if err != nil {
		return err
	}
	d.claim("copy_reads_others", readable, "", "With the live keys it gives back all of a person who was not erased")
	gone, err := c.isNoise(ctx, d.erased())
	if err != nil {
		return err
	}
	d.claim("copy_cannot_read_erased", gone, "", "Of the erased person it gives back nothing: no value and no scan")
	readsOnly, err := c.readsOnly(ctx, d.remaining())
	if err != nil {
		return err
	}
	d.claim("copy_reads_only", readsOnly, "", "It knows that it is a copy: it takes nothing in and erases nobody")
	return nil
}

// copyReader reads from the copy with the application's own credential, without a network between.
type copyReader struct {
	service *vault.Service
	call    vault.Call
}

// holds reports whether the copy knows the people's tokens as active, so that what it cannot read is for want of a key.
func (c copyReader) holds(ctx context.Context, people ...*registrant) (bool, error) {
	for _, p := range people {
		out, err := c.service.DescribeTokens(ctx, c.call, &api.TokensRequest{Tokens: []string{p.first("iin"), p.scans[0].token}})
		if err != nil {
			return false, err
		}
		for _, r := range out.Results {
			if r.Error != nil || r.State != "active" {
				return false, nil
			}
		}
	}
	return true, nil
}

// reads reports whether all of a person comes back right: every value, and the first scan.
func (c copyReader) reads(ctx context.Context, p *registrant) (bool, error) {
	results, expected, err := c.detokenize(ctx, p)
	if err != nil {
		return false, err
	}
	for _, r := range results {
		if r.Value == nil || !r.Value.Equal(expected[r.Token]) {
			return false, nil
		}
	}
	sum, err := c.readScan(ctx, p.scans[0])
	return err == nil && sum == p.scans[0].sum, err
}

// isNoise reports whether nothing of a person comes back by any way of reading, for want of the key.
func (c copyReader) isNoise(ctx context.Context, p *registrant) (bool, error) {
	results, _, err := c.detokenize(ctx, p)
	if err != nil {
		return false, err
	}
	for _, r := range results {
		if r.Value != nil || !errors.Is(r.Error.Err(), fault.Unavailable) {
			return false, nil
		}
	}
	for i := range p.scans {
		if _, err := c.readScan(ctx, p.scans[i]); !errors.Is(err, fault.Unavailable) {
			return false, nil
		}
	}
	_, err = c.service.Reveal(ctx, c.call, p.subject, &api.RevealRequest{
		Purpose: readPurpose, Reason: readReason, Form: api.Masked, Fields: []string{"iin", "family_name"},
	})
	return errors.Is(err, fault.Unavailable), nil
}

func (c copyReader) detokenize(ctx context.Context, p *registrant) ([]api.DetokenizeResult, map[string]api.Value, error) {
	request := &api.DetokenizeRequest{Purpose: readPurpose, Reason: readReason}
	expected := map[string]api.Value{}
	p.issued(func(_, token string, value api.Value) {
		request.Tokens = append(request.Tokens, token)
		expected[token] = value
	})
	out, err := c.service.Detokenize(ctx, c.call, request)
	if err != nil {
		return nil, nil, err
	}
	return out.Results, expected, nil
}

func (c copyReader) readScan(ctx context.Context, s scan) (string, error) {
	opened, err := c.service.OpenDocument(ctx, c.call, &api.OpenDocumentRequest{
		Token: s.token, Purpose: readPurpose, Reason: readReason, Part: s.part,
	})
	if err != nil {
		return "", err
	}
	content, err := c.service.Content(ctx, c.call, filepath.Base(opened.Content))
	if err != nil {
		return "", err
	}
	digest := sha256.New()
	if _, err := io.Copy(digest, content); err != nil {
		return "", errors.Join(err, content.Close())
	}
	return hex.EncodeToString(digest.Sum(nil)), content.Close()
}

// readsOnly reports whether the copy says what it is, and refuses to change anything, for an administrator too.
func (c copyReader) readsOnly(ctx context.Context, p *registrant) (bool, error) {
	if !slices.Contains(c.service.Ready(ctx).Degraded, "copy") {
		return false, nil
	}
	call := c.call
	call.Principal.Roles = []access.Role{access.Administrator}
	_, writing := c.service.Tokenize(ctx, call, &api.TokenizeRequest{Purpose: demoPurpose, Items: []api.TokenizeItem{p.item}})
	_, erasing := c.service.RequestErasure(ctx, call, &api.ErasureRequest{Subject: p.subject, Ground: "request", Reason: readReason})
	return errors.Is(writing, fault.Unavailable) && errors.Is(erasing, fault.Unavailable), nil
}
