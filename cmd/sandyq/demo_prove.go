package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit/certificate"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/ledger/file"
)

// keepLogKey keeps the public key of the log, as an outsider who means to verify certificates does long before.
func (d *demo) keepLogKey(ctx context.Context) error {
	all, err := d.administrator.LogKeys(ctx)
	if err != nil {
		return err
	}
	if len(all.Keys) == 0 {
		return errors.New("the log has no key")
	}
	d.logKey, err = checkpoint.ParseKey(all.Keys[0])
	return err
}

// prove has the erasure certified, verifies that with nothing but the key that was kept, looks the erasure up in the ledger, and
// drills the vault.
func (d *demo) prove(ctx context.Context) error {
	var document []byte
	pace, err := d.timed("certificate", "", 0, func() (err error) {
		document, err = d.staff.Certificate(ctx, d.erasure)
		return err
	})
	if err != nil {
		return err
	}
	parsed, err := certificate.Parse(document)
	if err != nil {
		return err
	}
	v, err := certificate.Verify(parsed, d.logKey)
	proves := err == nil && v.Content.Erasure == d.erasure && v.Content.Subject == d.erasedID && len(v.Content.Destroyed.Slices) >= 2
	d.claim("certified", proves, pace.String(), "The certificate is verified offline, with nothing but the log's public key")
	tampered := bytes.Replace(document, []byte(d.erasure), []byte(strings.Repeat("0", len(d.erasure))), 1)
	if parsed, err = certificate.Parse(tampered); err == nil {
		_, err = certificate.Verify(parsed, d.logKey)
	}
	d.claim("certificate_holds", err != nil, "", "With another erasure's number in it, it is not")
	listed := false
	if proves && v.Content.Ledger != nil {
		if listed, err = d.ledgerHas(v.Content.Ledger); err != nil {
			return err
		}
	}
	d.claim("listed", listed, "", "The erasure ledger, outside of store and keys, lists the erasure where it says")
	return d.drill(ctx)
}

// ledgerHas reports whether the line of the erasure stands in the ledger's file.
func (d *demo) ledgerHas(place *certificate.Ledger) (bool, error) {
	b, err := os.ReadFile(file.Path(d.config.ledgerDir(), d.config.Tenant))
	if err != nil {
		return false, fmt.Errorf("read the erasure ledger: %w", err)
	}
	lines := bytes.Split(b, []byte("\n"))
	if place.Entry >= uint64(len(lines)) {
		return false, nil
	}
	line := lines[place.Entry]
	sum := sha256.Sum256(line)
	return bytes.Contains(line, []byte(d.erasure)) && hex.EncodeToString(sum[:]) == place.Head, nil
}

// drill has the vault erase somebody made up and restore a backup of before.
func (d *demo) drill(ctx context.Context) error {
	var ran *api.Drill
	pace, err := d.timed("drill", "", 0, func() (err error) {
		ran, err = drillToTheEnd(ctx, d.administrator.Client)
		return err
	})
	if err != nil {
		return err
	}
	d.claim("drilled", ran.State == api.DrillPassed, pace.String(), "A drill backs up, erases and restores: the backup brings nobody back")
	return nil
}
