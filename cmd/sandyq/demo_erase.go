package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/fault"
)

// erasurePatience is how long the demo waits for an erasure to end.
const erasurePatience = 30 * time.Second

// blocked and erased are the people of the acts of those names. They are among those shown, and so is who remains.
func (d *demo) remaining() *registrant { return d.people[0] }
func (d *demo) blocked() *registrant   { return d.people[1] }
func (d *demo) erased() *registrant    { return d.people[2] }

// block has staff block a person, the application try to read them, and staff lift the block.
func (d *demo) block(ctx context.Context) error {
	p := d.blocked()
	subject, err := d.lookUp(ctx, p)
	if err != nil {
		return err
	}
	d.claim("ids_pairwise", subject != p.subject, "", "Staff find the person, under another id than the application's")
	pace, err := d.timed("block", "", 0, func() error {
		_, err := d.staff.Block(ctx, subject, &api.BlockRequest{Kind: "dispute", Reason: "data_disputed"})
		return err
	})
	if err != nil {
		return err
	}
	refusedToken, refusedDocument, err := d.refused(ctx, p, fault.Blocked, http.StatusLocked)
	if err != nil {
		return err
	}
	d.claim("blocked", refusedToken && refusedDocument, pace.String(), "At once the person's tokens answer blocked, their document 423")
	if _, err := d.staff.Unblock(ctx, subject, &api.BlockRequest{Kind: "dispute", Reason: "dispute_settled"}); err != nil {
		return err
	}
	again, err := d.reads(ctx, p)
	if err != nil {
		return err
	}
	d.claim("unblocked", again, "", "With the block lifted they can be read again")
	return nil
}

// lookUp has staff find a person by IIN, which gives the vault-wide id.
func (d *demo) lookUp(ctx context.Context, p *registrant) (string, error) {
	found, err := d.find(ctx, d.staff, p.person.IIN)
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", errors.New("staff do not find the person")
	}
	return found[0].Subject, nil
}

// refused reports whether a person's token and document are refused with this code, the document with this HTTP status.
func (d *demo) refused(ctx context.Context, p *registrant, code fault.Code, status int) (tokens, document bool, err error) {
	out, err := d.detokenize(ctx, api.Plain, p.first("iin"), p.first("family_name"))
	if err != nil {
		return false, false, err
	}
	tokens = true
	for _, r := range out {
		tokens = tokens && r.Value == nil && errors.Is(r.Error.Err(), code)
	}
	before := d.server.tally.of(status)
	_, err = d.readScan(ctx, p.scans[0])
	return tokens, errors.Is(err, code) && d.server.tally.of(status) == before+1, nil
}

// reads reports whether a person's value and document come back right.
func (d *demo) reads(ctx context.Context, p *registrant) (bool, error) {
	out, err := d.detokenize(ctx, api.Plain, p.first("iin"))
	if err != nil {
		return false, err
	}
	sum, err := d.readScan(ctx, p.scans[0])
	if err != nil {
		return false, err
	}
	return out[0].Value != nil && out[0].Value.Equal(p.values["iin"][0]) && sum == p.scans[0].sum, nil
}

// erase has staff erase a person, and looks at what is left of them.
func (d *demo) erase(ctx context.Context) error {
	p := d.erased()
	subject, err := d.lookUp(ctx, p)
	if err != nil {
		return err
	}
	d.erasedID = subject
	if err := d.keepLogKey(ctx); err != nil {
		return err
	}
	before, err := fileNames(d.config.documentsDir())
	if err != nil {
		return err
	}
	began := clock.System()
	var erasure *api.Erasure
	pace, err := d.timed("erase: unreadable", "", 0, func() (err error) {
		erasure, err = d.staff.RequestErasure(ctx, &api.ErasureRequest{Subject: subject, Ground: "request", Reason: "written_request"})
		return err
	})
	if err != nil {
		return err
	}
	tokens, document, err := d.refused(ctx, p, fault.Erased, http.StatusGone)
	if err != nil {
		return err
	}
	d.erasure = erasure.Erasure
	d.claim("unreadable", tokens && document, pace.String(), "At once the person's tokens answer erased, their document 410")
	if erasure, err = awaitErasure(ctx, d.staff.Client, erasure.Erasure, erasurePatience); err != nil {
		return err
	}
	whole := stage{Name: "erase: keys gone, data removed", Seconds: clock.System().Sub(began).Seconds()}
	d.report.Stages = append(d.report.Stages, whole)
	after, err := fileNames(d.config.documentsDir())
	if err != nil {
		return err
	}
	d.claim("keys_destroyed", inOrder(erasure) && len(before)-len(after) == len(p.scans), whole.String(), "Their keys were destroyed, and when they were gone, their scans")
	return d.afterErasure(ctx, p)
}

// inOrder reports whether an erasure went through its states in their order and destroyed what a registered person has.
func inOrder(e *api.Erasure) bool {
	var before time.Time
	for _, t := range []time.Time{e.RequestedAt, e.ErasingAt, e.KeyDestroyedAt, e.ErasedAt} {
		if t.IsZero() || t.Before(before) {
			return false
		}
		before = t
	}
	w := e.WillDestroy
	return e.State == api.ErasureErased && w != nil && w.Keys >= 2 && w.Fields > 0 && w.Documents > 0
}

// afterErasure looks for the erased person, and registers the same human being anew.
func (d *demo) afterErasure(ctx context.Context, p *registrant) error {
	left, err := d.find(ctx, d.staff, p.person.IIN)
	if err != nil {
		return err
	}
	d.claim("not_found", len(left) == 0, "", "Their IIN finds nobody any more, not even for staff")
	others := slices.DeleteFunc(slices.Clone(d.people), func(other *registrant) bool { return other == p })
	stay, err := d.readEveryIIN(ctx, others)
	if err != nil {
		return err
	}
	d.claim("others_stay", stay, "", "Everybody else is still read: %s people", grouped(len(others)))
	out, err := d.application.Tokenize(ctx, &api.TokenizeRequest{Purpose: demoPurpose, Items: []api.TokenizeItem{p.item}})
	if err != nil {
		return err
	}
	anew := out.Results[0]
	if err := anew.Error.Err(); err != nil {
		return err
	}
	d.claim("new_person", anew.Created && anew.Subject != p.subject && anew.Tokens["iin"].Items[0] != p.first("iin"), "",
		"Should they come again, they are a new person with new tokens")
	return nil
}
