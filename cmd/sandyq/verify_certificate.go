package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault/audit/certificate"
)

// checkedCertificate is what verify certificate answers.
type checkedCertificate struct {
	Verified bool                 `json:"verified"` // true: what does not verify is an error
	Hash     string               `json:"hash"`     // SHA-256 of the certificate's text
	Key      string               `json:"key"`      // that it was checked with
	SignedBy string               `json:"signed_by"`
	Origin   string               `json:"origin"`
	TreeSize int64                `json:"tree_size"`
	Entries  []int64              `json:"entries"` // the places in the log of the destruction and of the end
	Content  certificate.Content  `json:"certificate"`
	Removal  *certificate.Removal `json:"removal,omitempty"`
	Cosigned []cosignature        `json:"cosigned,omitempty"` // by the witnesses that were named
	Proved   []string             `json:"proved"`
	Stated   []string             `json:"stated"`
}

func newVerifyCertificateCmd(e *env) *cobra.Command {
	var key string
	var by witnessed
	cmd := &cobra.Command{
		Use:   "certificate FILE --key KEY",
		Short: "Check the certificate of an erasure",
		Long: `Check a certificate of an erasure with nothing but the public key of the operator's log: that the log's key signed it,
that the log holds the entries of the destruction and of the end, and that they say what the certificate says. It says what
that proves, and what is only the operator's word. FILE is the certificate in JSON; - is standard input. With --witness, so
many of those named must have cosigned the log's checkpoint. Nothing is asked of any server. It exits with 1 when anything is wrong, and says what.`,
		Example: `  sandyq verify certificate certificate.json --key vault.example.kz/main+aeafebba+AXje…
  sandyq certificate era_01j2… | sandyq verify certificate - --key log.keys --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := e.logKeys(key)
			if err != nil {
				return err
			}
			cosigners, quorum, err := by.cosigners(cmd)
			if err != nil {
				return err
			}
			b, err := e.readUpTo(args[0], certificate.MaxDocument)
			if err != nil {
				return err
			}
			d, err := certificate.Parse(b)
			if err != nil {
				return fmt.Errorf("this is no certificate of an erasure as it was issued: %w", err)
			}
			v, err := certificate.Verify(d, keys...)
			if err != nil {
				return hinted(fmt.Errorf("the certificate is not verified: %w", err),
					"ask the operator for the key of the log by another way than this certificate came, and for the certificate again")
			}
			checked := checkedOf(v)
			if checked.Cosigned, err = demand(v.Checkpoint, cosigners, quorum); err != nil {
				return err
			}
			return e.answer(checked, func(w io.Writer) error { return writeChecked(w, v, checked.Cosigned) })
		},
	}
	cmd.Flags().StringVar(&key, "key", "", keyUsage)
	by.flags(cmd)
	return requiring(cmd, "key")
}

func checkedOf(v *certificate.Verified) checkedCertificate {
	return checkedCertificate{
		Verified: true, Hash: v.Hash, Key: v.Held.String(), SignedBy: v.Signer.String(), Origin: v.Tree.Origin, TreeSize: v.Tree.Size,
		Entries: []int64{v.KeyDestroyed, v.Erased}, Content: v.Content, Removal: v.Removal, Proved: v.Proved(), Stated: v.Stated(),
	}
}

func writeChecked(w io.Writer, v *certificate.Verified, cosigned []cosignature) error {
	proved := v.Proved()
	for _, c := range cosigned {
		proved = append(proved, fmt.Sprintf("The witness %s has cosigned the log's checkpoint, at %s as it says.", c.Witness, c.At))
	}
	_, err := fmt.Fprintf(w, "The certificate of the erasure %s is verified.\nIts hash: %s\n", v.Content.Erasure, v.Hash)
	for _, part := range []struct {
		title string
		lines []string
	}{{"Proved:", proved}, {"Only stated, on the operator's word:", v.Stated()}} {
		if err == nil {
			_, err = fmt.Fprintf(w, "\n%s\n", part.title)
		}
		for _, line := range part.lines {
			if err == nil {
				_, err = fmt.Fprintf(w, "  - %s\n", printable(line))
			}
		}
	}
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}
