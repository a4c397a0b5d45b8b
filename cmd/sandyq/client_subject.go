package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
)

func newSubjectCmd(r *remote) *cobra.Command {
	return group("subject", "See and change what is held of a person",
		newSubjectShowCmd(r), newSubjectCreateCmd(r), newBlockCmd(r), newUnblockCmd(r), newRectifyCmd(r), newRevealCmd(r), newRecipientsCmd(r))
}

func newSubjectShowCmd(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:     "show SUBJECT",
		Short:   "Show what is held of a person; no values",
		Example: `  sandyq subject show sub_01j2…`,
		Args:    cobra.ExactArgs(1),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) error {
			s, err := c.Subject(ctx, args[0])
			if err != nil {
				return err
			}
			return r.answerSubject(s)
		}),
	}
}

func newSubjectCreateCmd(r *remote) *cobra.Command {
	var in api.CreateSubjectRequest
	var path string
	cmd := &cobra.Command{
		Use:     "create --purpose PURPOSE",
		Short:   "Make a person without values",
		Example: `  sandyq subject create --purpose registration --external-ref - < reference.txt`,
		Args:    cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) (err error) {
			if path != "" {
				if in.ExternalRef, err = r.readText(path); err != nil {
					return err
				}
			}
			s, err := c.CreateSubject(ctx, &in)
			if err != nil {
				return err
			}
			return r.answerSubject(s)
		}),
	}
	cmd.Flags().StringVar(&in.Purpose, "purpose", "", purposeUsage)
	cmd.Flags().StringVar(&path, "external-ref", "", "file with what your system knows the person by; - is standard input")
	return requiring(cmd, "purpose")
}

func newBlockCmd(r *remote) *cobra.Command {
	return blocking(r, "block", "Stop the processing of a person",
		"Stop the processing of a person. Once this has answered no reading begins, and those that ran are cut.",
		(*client.Client).Block)
}

func newUnblockCmd(r *remote) *cobra.Command {
	return blocking(r, "unblock", "End a block of a person", "End the block of one kind. Blocks of other kinds stand.",
		(*client.Client).Unblock)
}

func blocking(r *remote, use, short, long string, change func(*client.Client, context.Context, string, *api.BlockRequest) (*api.Subject, error)) *cobra.Command {
	var in api.BlockRequest
	cmd := &cobra.Command{
		Use: use + " SUBJECT --kind KIND --reason REASON", Short: short, Long: long,
		Example: `  sandyq subject ` + use + ` sub_01j2… --kind dispute --reason data_disputed`,
		Args:    cobra.ExactArgs(1),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) error {
			s, err := change(c, ctx, args[0], &in)
			if err != nil {
				return err
			}
			return r.answerSubject(s)
		}),
	}
	cmd.Flags().StringVar(&in.Kind, "kind", "", "dispute, unlawful or other")
	cmd.Flags().StringVar(&in.Reason, "reason", "", reasonUsage)
	return requiring(cmd, "kind", "reason")
}

// answerSubject shows a person.
func (r *remote) answerSubject(s *api.Subject) error {
	return r.answerTable(s, func(t table) {
		t.row("subject", s.Subject)
		t.row("state", string(s.State))
		t.row("created", moment(s.CreatedAt))
		if len(s.Purposes) > 0 {
			t.row("purposes", strings.Join(s.Purposes, ", "))
		}
		for _, b := range s.Blocks {
			kind := b.Kind
			if b.Reason != "" { // it is told to whoever placed the block
				kind += " (" + b.Reason + ")"
			}
			t.row("block", kind+" since "+moment(b.Since))
		}
		if s.Erasure != "" {
			t.row("erasure", s.Erasure)
		}
		for _, name := range slices.Sorted(maps.Keys(s.Fields)) {
			held := s.Fields[name]
			t.row("field", fmt.Sprintf("%s × %d, %s", name, held.Values, moment(held.UpdatedAt)), strings.Join(s.Tokens[name].Items, " "))
		}
		for _, d := range s.Documents {
			t.row("document", fmt.Sprintf("%s × %d, %s", d.Kind, len(d.Parts), d.Document), d.Token)
		}
	})
}

func newRectifyCmd(r *remote) *cobra.Command {
	var in api.RectifyRequest
	var by behalf
	var path string
	cmd := &cobra.Command{
		Use:   "rectify SUBJECT --purpose PURPOSE",
		Short: "Replace values on evidence; tokens stay",
		Long: `Replace values of a person. The input is a JSON object with evidence (kind document, application or self_service, and
ref) and fields; tokens of the fields stay what they are.`,
		Example: `  echo '{"evidence": {"kind": "application", "ref": "A-17"}, "fields": {"family_name": "Сәрсенова"}}' |
    sandyq subject rectify sub_01j2… --purpose service`,
		Args: cobra.ExactArgs(1),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) error {
			var correction struct {
				Evidence api.Evidence                        `json:"evidence"`
				Fields   map[string]api.OneOrMany[api.Value] `json:"fields"`
			}
			if err := r.readJSON(path, &correction); err != nil {
				return err
			}
			in.Evidence, in.Fields, in.OnBehalfOf = correction.Evidence, correction.Fields, by.wire()
			out, err := c.Rectify(ctx, args[0], &in)
			if err != nil {
				return err
			}
			return r.answerTable(out, func(t table) {
				t.row("SUBJECT", "FIELD", "TOKEN")
				t.tokens(out.Tokens, out.Subject)
			})
		}),
	}
	cmd.Flags().StringVar(&in.Purpose, "purpose", "", purposeUsage)
	cmd.Flags().StringVar(&path, "file", standardInput, "file with the evidence and the fields")
	by.bind(cmd.Flags())
	return requiring(cmd, "purpose")
}

func newRevealCmd(r *remote) *cobra.Command {
	var in api.RevealRequest
	var by behalf
	var note string
	cmd := &cobra.Command{
		Use:     "reveal SUBJECT --fields FIELD,… --purpose PURPOSE --reason REASON",
		Short:   "Read fields of one person without tokens",
		Example: `  sandyq subject reveal sub_01j2… --fields family_name,phone --form masked --purpose service --reason support_call`,
		Args:    cobra.ExactArgs(1),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) (err error) {
			if in.Note, err = r.note(note); err != nil {
				return err
			}
			in.OnBehalfOf = by.wire()
			out, err := c.Reveal(ctx, args[0], &in)
			if err != nil {
				return err
			}
			return r.answerTable(out, func(t table) {
				for _, name := range slices.Sorted(maps.Keys(out.Fields)) {
					for _, v := range out.Fields[name].Items {
						t.row(name, plain(v))
					}
				}
			})
		}),
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&in.Fields, "fields", nil, "fields to read")
	flags.StringVar(&in.Purpose, "purpose", "", purposeUsage)
	flags.StringVar(&in.Recipient, "recipient", "", recipientUsage)
	flags.StringVar(&in.Reason, "reason", "", reasonUsage)
	flags.StringVar((*string)(&in.Form), "form", string(api.Plain), formUsage)
	bindNote(flags, &note)
	by.bind(flags)
	return requiring(cmd, "fields", "purpose", "reason")
}
