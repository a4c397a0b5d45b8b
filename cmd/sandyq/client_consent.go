package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
)

func newConsentCmd(r *remote) *cobra.Command {
	return group("consent", "Record, show and withdraw what people consent to",
		newConsentRecordCmd(r), newConsentListCmd(r), newConsentWithdrawCmd(r), newConsentProofCmd(r),
		group("texts", "Manage what people consent to", newTextsListCmd(r), newTextsShowCmd(r), newTextsPutCmd(r)),
		newConsentMissingCmd(r))
}

func newConsentRecordCmd(r *remote) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "record SUBJECT",
		Short: "Record a consent of a person",
		Long: `Record a consent of a person. The input is a JSON object with text (the version that the person was shown), purposes,
channel (web_form, paper, state_service or other) and given_at, and, if there are such, expires_at, evidence, fields,
third_parties, cross_border, publication and given_by.

The receipt is printed this once: give it to the person. It finds the proof of the consent when nothing else does.`,
		Example: `  echo '{"text": "builtin-2026-01", "purposes": ["service"], "channel": "web_form", "given_at": "2026-11-22T09:30:00Z"}' |
    sandyq consent record sub_01j2…`,
		Args: cobra.ExactArgs(1),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) error {
			var in api.ConsentRequest
			if err := r.readJSON(path, &in); err != nil {
				return err
			}
			made, err := c.RecordConsent(ctx, args[0], &in)
			if err != nil {
				return err
			}
			return r.answerConsent(made)
		}),
	}
	cmd.Flags().StringVar(&path, "file", standardInput, "file with the consent")
	return cmd
}

// answerConsent shows a consent.
func (r *remote) answerConsent(c *api.Consent) error {
	return r.answerTable(c, func(t table) {
		t.row("consent", c.Consent)
		if c.Receipt != "" {
			t.row("receipt", c.Receipt)
		}
		t.row("state", fmt.Sprintf("%s, version %d", c.State, c.Version))
		t.row("text", c.Text)
		t.row("purposes", strings.Join(c.Purposes, ", "))
		t.row("given", moment(c.GivenAt)+" by "+c.GivenBy+", "+c.Channel)
		if !c.ExpiresAt.IsZero() {
			t.row("expires", moment(c.ExpiresAt))
		}
		if !c.WithdrawnAt.IsZero() {
			t.row("withdrawn", moment(c.WithdrawnAt))
			t.row("stopped", strings.Join(c.Stopped, ", "))
		}
		for _, kept := range c.Kept {
			t.row("kept", kept.Purpose+": "+kept.Citation)
		}
	})
}

func newConsentListCmd(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:     "list SUBJECT",
		Short:   "List a person's consents",
		Example: `  sandyq consent list sub_01j2…`,
		Args:    cobra.ExactArgs(1),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) error {
			page, err := c.ListConsents(ctx, args[0])
			if err != nil {
				return err
			}
			return r.answerTable(page, func(t table) {
				t.row("CONSENT", "STATE", "PURPOSES", "TEXT", "GIVEN", "ENDS", "RECORDED BY", "EVIDENCE")
				for _, c := range page.Items {
					ends := c.WithdrawnAt
					if ends.IsZero() {
						ends = c.ExpiresAt
					}
					evidence := c.Evidence
					if c.Unavailable {
						evidence = "(its key is out of reach)"
					}
					t.row(c.Consent, string(c.State), strings.Join(c.Purposes, ","), c.Text, moment(c.GivenAt), moment(ends), c.RecordedBy, evidence)
				}
			})
		}),
	}
}

func newConsentWithdrawCmd(r *remote) *cobra.Command {
	var in api.WithdrawRequest
	var note string
	cmd := &cobra.Command{
		Use:   "withdraw SUBJECT CONSENT",
		Short: "Withdraw a consent",
		Long: `Withdraw a consent. Once this has answered no reading begins that rests on it, and those that ran are cut. Purposes that
an obligation keeps go on and are listed with what it rests on; when all are kept, nothing is withdrawn.`,
		Example: `  sandyq consent withdraw sub_01j2… cns_01j2… --reason person_asked`,
		Args:    cobra.ExactArgs(2),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) (err error) {
			if in.Note, err = r.note(note); err != nil {
				return err
			}
			out, err := c.WithdrawConsent(ctx, args[0], args[1], &in)
			if err != nil {
				return err
			}
			return r.answerConsent(out)
		}),
	}
	cmd.Flags().StringVar(&in.Reason, "reason", "", reasonUsage)
	bindNote(cmd.Flags(), &note)
	return cmd
}

func newConsentProofCmd(r *remote) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:     "proof",
		Short:   "Show what is kept of a consent, by its receipt",
		Long:    `Show what is kept of a consent, whatever has become of the person. The input is the receipt that the person was given.`,
		Example: `  sandyq consent proof < receipt.txt`,
		Args:    cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			receipt, err := r.readText(path)
			if err != nil {
				return err
			}
			p, err := c.ConsentProof(ctx, &api.ProofRequest{Receipt: receipt})
			if err != nil {
				return err
			}
			return r.answerTable(p, func(t table) {
				t.row("text", p.Text)
				t.row("sha256", "kk "+p.SHA256.Kazakh)
				t.row("", "ru "+p.SHA256.Russian)
				t.row("", "en "+p.SHA256.English)
				t.row("purposes", strings.Join(p.Purposes, ", "))
				t.row("given", moment(p.GivenAt)+" by "+p.GivenBy+", "+p.Channel)
				t.row("recorded by", p.RecordedBy)
				t.row("expires", moment(p.ExpiresAt))
				t.row("withdrawn", moment(p.WithdrawnAt))
				if len(p.KeptFor) > 0 {
					t.row("kept for", strings.Join(p.KeptFor, ", "))
				}
			})
		}),
	}
	cmd.Flags().StringVar(&path, "file", standardInput, "file with the receipt")
	return cmd
}

func newConsentMissingCmd(r *remote) *cobra.Command {
	var purpose string
	cmd := &cobra.Command{
		Use:   "missing",
		Short: "List people without the consent that their data's use rests on",
		Long: `List the people whose data was collected for purposes that rest on consent, and of whom no consent to these is on record:
those whom consents: enforce would refuse.`,
		Example: `  sandyq consent missing --purpose service`,
		Args:    cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			all, err := everyPage(func(cursor string) (*api.Page[api.MissingConsent], error) {
				return c.MissingConsents(ctx, purpose, api.MaxLimit, cursor)
			})
			if err != nil {
				return err
			}
			return r.answerTable(api.Page[api.MissingConsent]{Items: all}, func(t table) {
				t.row("SUBJECT", "PURPOSES")
				for _, m := range all {
					t.row(m.Subject, strings.Join(m.Purposes, ","))
				}
			})
		}),
	}
	cmd.Flags().StringVar(&purpose, "purpose", "", "only this purpose")
	return cmd
}

func newTextsListCmd(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the consent texts",
		Example: `  sandyq consent texts list`,
		Args:    cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			page, err := c.ConsentTexts(ctx)
			if err != nil {
				return err
			}
			return r.answerTable(page, func(t table) {
				t.row("VERSION", "EFFECTIVE FROM", "FINAL", "MANAGED BY", "PURPOSES")
				for _, text := range page.Items {
					t.row(text.Version, moment(text.EffectiveFrom), fmt.Sprint(text.Final), text.ManagedBy, strings.Join(text.Purposes, ","))
				}
			})
		}),
	}
}

func newTextsShowCmd(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:     "show VERSION",
		Short:   "Show a consent text",
		Example: `  sandyq consent texts show builtin-2026-01`,
		Args:    cobra.ExactArgs(1),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) error {
			text, err := c.ConsentText(ctx, args[0])
			if err != nil {
				return err
			}
			return r.answerTable(text, func(t table) {
				t.row("version", text.Version)
				t.row("effective from", moment(text.EffectiveFrom))
				t.row("purposes", strings.Join(text.Purposes, ", "))
				for _, language := range []struct{ name, text, sha256 string }{
					{"kk", text.Text.Kazakh, text.SHA256.Kazakh}, {"ru", text.Text.Russian, text.SHA256.Russian}, {"en", text.Text.English, text.SHA256.English},
				} {
					t.row(language.name, language.sha256)
					for line := range strings.Lines(language.text) {
						t.row(" ", strings.TrimRight(line, "\n"))
					}
				}
			})
		}),
	}
}

func newTextsPutCmd(r *remote) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "put VERSION",
		Short: "Make a consent text",
		Long: `Make a consent text, or change one that nobody can have been shown yet. The input is a JSON object with text (kk, ru and
en), effective_from and purposes.`,
		Example: `  sandyq consent texts put shop-2026-12 < text.json`,
		Args:    cobra.ExactArgs(1),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) error {
			var in api.ConsentTextRequest
			if err := r.readJSON(path, &in); err != nil {
				return err
			}
			change, err := c.PutConsentText(ctx, args[0], &in)
			if err != nil {
				return err
			}
			return r.answerTable(change, func(t table) {
				t.row("text", change.Name)
				t.row("state", string(change.State))
				if change.Change != "" {
					t.row("change", change.Change)
					t.row("approvals needed", fmt.Sprint(change.ApprovalsNeeded))
				}
			})
		}),
	}
	cmd.Flags().StringVar(&path, "file", standardInput, "file with the text")
	return cmd
}
