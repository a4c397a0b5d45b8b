package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault/audit/certificate"
	"github.com/sandyq/sandyq/vault/client"
)

func newCertificateCmd(r *remote) *cobra.Command {
	var format, lang, out string
	cmd := &cobra.Command{
		Use:   "certificate ERASURE [--format json|pdf] [--lang kk|ru|en] [--out FILE]",
		Short: "Read the certificate of an erasure",
		Long: `Read the certificate of an erasure that is at its end: in JSON, which sandyq verify certificate checks, or set on a page
of PDF, to which the JSON is attached. It is printed, or written to a new file with --out.`,
		Example: `  sandyq certificate era_01j2… --out certificate.json
  sandyq certificate era_01j2… --format pdf --lang ru --out certificate.pdf`,
		Args: cobra.ExactArgs(1),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) (err error) {
			var b []byte
			switch format {
			case "json":
				b, err = c.Certificate(ctx, args[0])
				if err == nil {
					_, err = certificate.Parse(b)
				}
			case "pdf":
				b, err = c.CertificatePage(ctx, args[0], lang)
			default:
				return usagef("--format is json or pdf")
			}
			if err != nil {
				return err
			}
			if out == "" {
				_, err = r.out.Write(b)
				return err
			}
			return writeNew(out, b)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&format, "format", "json", "json or pdf")
	flags.StringVar(&lang, "lang", "kk", "language of the page: kk, ru or en")
	flags.StringVarP(&out, "out", "o", "", "file to write, which must not exist (default: standard output)")
	return cmd
}

// writeNew writes a file that does not exist yet.
func writeNew(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write the certificate: %w", err)
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("write the certificate: %w", err)
	}
	return nil
}
