package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
)

// behalf is the flag that says who stands behind the calling system.
type behalf struct{ actor string }

func (b *behalf) bind(flags *pflag.FlagSet) {
	flags.StringVar(&b.actor, "on-behalf-of", "", "who asked for this, as your system knows them; recorded")
}

func (b *behalf) wire() *api.Actor {
	if b.actor == "" {
		return nil
	}
	return &api.Actor{Actor: b.actor}
}

const (
	purposeUsage = "what the data is processed for"
	reasonUsage  = "why now: a short code, a-z, 0-9 and _"
	formUsage    = "plain, masked, or allowed: the fullest that policy permits"
)

func newTokenizeCmd(r *remote) *cobra.Command {
	var in api.TokenizeRequest
	var by behalf
	var path string
	cmd := &cobra.Command{
		Use:   "tokenize --purpose PURPOSE",
		Short: "Store values and get tokens for them",
		Long: `Store people's values and print a token for each. The input is a JSON array of items, as the API takes them, at most
1,000; each item stands alone and is stored whole or not at all.`,
		Example: `  cat > items.json <<'END'
  [{"external_ref": "client/4711", "fields": {"iin": "850312113646", "phone": ["+77011234567"]}}]
  END
  sandyq tokenize --purpose registration < items.json`,
		Args: cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			if err := r.readJSON(path, &in.Items); err != nil {
				return err
			}
			in.OnBehalfOf = by.wire()
			out, err := c.Tokenize(ctx, &in)
			if err != nil {
				return err
			}
			return r.answerTokenized(out)
		}),
	}
	cmd.Flags().StringVar(&in.Purpose, "purpose", "", purposeUsage)
	cmd.Flags().StringVar(&path, "file", standardInput, "file with the items")
	by.bind(cmd.Flags())
	return requiring(cmd, "purpose")
}

func (r *remote) answerTokenized(out *api.TokenizeResponse) error {
	failed := 0
	for _, result := range out.Results {
		if result.Error != nil {
			failed++
		}
	}
	err := r.answerTable(out, func(t table) {
		t.row("ITEM", "SUBJECT", "FIELD", "TOKEN")
		for i, result := range out.Results {
			item := fmt.Sprint(i + 1)
			if result.Error != nil {
				t.row(item, failure(result.Error))
				continue
			}
			subject := result.Subject
			if result.Created {
				subject += " (new)"
			}
			t.tokens(result.Tokens, item, subject)
			for _, field := range result.Differs {
				t.row(item, result.Subject, field, "kept: it has another value")
			}
			for _, w := range result.Warnings {
				t.row(item, result.Subject, w.Field, "warning: "+w.Rule)
			}
		}
	})
	if err != nil {
		return err
	}
	return partly(failed, len(out.Results))
}

func newDetokenizeCmd(r *remote) *cobra.Command {
	var in api.DetokenizeRequest
	var by behalf
	var path string
	cmd := &cobra.Command{
		Use:     "detokenize --purpose PURPOSE --reason REASON",
		Short:   "Turn tokens back into values",
		Long:    `Turn tokens back into values and print them. The input is tokens, one a line, at most 1,000.`,
		Example: `  sandyq detokenize --purpose service --reason support_call --form masked < tokens.txt`,
		Args:    cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) (err error) {
			if in.Tokens, err = r.readLines(path); err != nil {
				return err
			}
			in.OnBehalfOf = by.wire()
			out, err := c.Detokenize(ctx, &in)
			if err != nil {
				return err
			}
			return r.answerDetokenized(out)
		}),
	}
	cmd.Flags().StringVar(&in.Purpose, "purpose", "", purposeUsage)
	cmd.Flags().StringVar(&in.Recipient, "recipient", "", recipientUsage)
	cmd.Flags().StringVar(&in.Reason, "reason", "", reasonUsage)
	cmd.Flags().StringVar((*string)(&in.Form), "form", string(api.Plain), formUsage)
	cmd.Flags().StringVar(&path, "file", standardInput, "file with the tokens")
	by.bind(cmd.Flags())
	return requiring(cmd, "purpose", "reason")
}

func (r *remote) answerDetokenized(out *api.DetokenizeResponse) error {
	failed := 0
	for _, result := range out.Results {
		if result.Error != nil {
			failed++
		}
	}
	err := r.answerTable(out, func(t table) {
		t.row("TOKEN", "FIELD", "VALUE")
		for _, result := range out.Results {
			switch {
			case result.Error != nil:
				t.row(result.Token, result.Field, failure(result.Error))
			case result.Value != nil:
				t.row(result.Token, result.Field, plain(*result.Value))
			}
		}
	})
	if err != nil {
		return err
	}
	return partly(failed, len(out.Results))
}

func newSearchCmd(r *remote) *cobra.Command {
	var in api.SearchRequest
	var by behalf
	var path string
	cmd := &cobra.Command{
		Use:   "search --field FIELD --purpose PURPOSE --reason REASON",
		Short: "Find people by the exact value of a field",
		Long: `Find people by the exact value of a searchable field. The input is the value; it may be written in any way that the
field accepts.`,
		Example: `  sandyq search --field iin --purpose service --reason support_call < iin.txt`,
		Args:    cobra.NoArgs,
		RunE: r.asking(func(ctx context.Context, c *client.Client, _ []string) error {
			value, err := r.readText(path)
			if err != nil {
				return err
			}
			in.Value, in.OnBehalfOf = api.Text(value), by.wire()
			out, err := c.Search(ctx, &in)
			if err != nil {
				return err
			}
			return r.answerTable(out, func(t table) {
				t.row("SUBJECT", "FIELD", "TOKEN")
				for _, result := range out.Results {
					t.tokens(result.Tokens, result.Subject)
				}
			})
		}),
	}
	cmd.Flags().StringVar(&in.Field, "field", "", "field to search by")
	cmd.Flags().StringVar(&in.Purpose, "purpose", "", purposeUsage)
	cmd.Flags().StringVar(&in.Reason, "reason", "", reasonUsage)
	cmd.Flags().StringVar(&path, "file", standardInput, "file with the value")
	by.bind(cmd.Flags())
	return requiring(cmd, "field", "purpose", "reason")
}
