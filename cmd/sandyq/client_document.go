package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/gabriel-vasile/mimetype"
	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
)

func newDocumentCmd(r *remote) *cobra.Command {
	return group("document", "Store scans of documents and read them back", newDocumentPutCmd(r), newDocumentGetCmd(r))
}

func newDocumentPutCmd(r *remote) *cobra.Command {
	var up client.Upload
	cmd := &cobra.Command{
		Use:   "put SUBJECT FILE --kind KIND --purpose PURPOSE --capture CAPTURE",
		Short: "Store a scan",
		Long: `Store a scan of a document of a person and print its token. JPEG, PNG, HEIC, TIFF and PDF are taken, up to 64 MiB
unless the server says otherwise. The file's name is not sent.`,
		Example: `  sandyq document put sub_01j2… front.jpg --kind identity_card --side front --capture photographed --purpose registration`,
		Args:    cobra.ExactArgs(2),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) error {
			put, err := putDocument(ctx, c, args[0], up, args[1])
			if err != nil {
				return err
			}
			return r.answerTable(put, func(t table) {
				t.row("DOCUMENT", "PART", "KIND", "SIDE", "TYPE", "BYTES", "TOKEN")
				t.row(put.Document, fmt.Sprint(put.Part), put.Kind, put.Side, put.MediaType, fmt.Sprint(put.Size), put.Token)
			})
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&up.Kind, "kind", "", "identity_card, passport, residence_permit, foreign_passport, consent_form or other")
	flags.StringVar(&up.Side, "side", "", "front, back or page")
	flags.StringVar(&up.Capture, "capture", "", "how the scan was made: digital, photographed or scanned_from_paper")
	flags.StringVar(&up.CaptureGround, "capture-ground", "", "why paper was scanned; needed with scanned_from_paper")
	flags.StringVar(&up.Purpose, "purpose", "", purposeUsage)
	flags.StringVar(&up.Document, "document", "", "add a part to this document rather than make a new one")
	return requiring(cmd, "kind", "purpose", "capture")
}

// putDocument uploads a file, whose media type is told by its content.
func putDocument(ctx context.Context, c *client.Client, subject string, up client.Upload, path string) (*api.Document, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the scan: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the scan: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, usagef("read the scan: %s is not a file", path)
	}
	kind, err := mimetype.DetectReader(f)
	if err != nil {
		return nil, fmt.Errorf("read the scan: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read the scan: %w", err)
	}
	up.MediaType, up.Size = kind.String(), info.Size()
	return c.UploadDocument(ctx, subject, up, f)
}

func newDocumentGetCmd(r *remote) *cobra.Command {
	var in api.OpenDocumentRequest
	var by behalf
	var path string
	var force bool
	cmd := &cobra.Command{
		Use:   "get FILE --purpose PURPOSE --reason REASON",
		Short: "Read a scan back into a file",
		Long: `Read a scan back into FILE, which only you may read. The input is the document's token. FILE appears when every byte has
come and the SHA-256 is that of what was stored; until then nothing stands under its name.`,
		Example: `  sandyq document get front.jpg --purpose service --reason identity_check < token.txt`,
		Args:    cobra.ExactArgs(1),
		RunE: r.asking(func(ctx context.Context, c *client.Client, args []string) (err error) {
			out := args[0]
			if _, err := os.Lstat(out); err == nil && !force {
				return exists(out)
			}
			if in.Token, err = r.readText(path); err != nil {
				return err
			}
			in.OnBehalfOf = by.wire()
			opened, err := c.OpenDocument(ctx, &in)
			if err != nil {
				return err
			}
			if err := saveDocument(ctx, c, opened, out, force); err != nil {
				return err
			}
			return r.answerTable(saved{
				File: out, Document: opened.Document, Part: opened.Part, Parts: opened.Parts,
				MediaType: opened.MediaType, Size: opened.Size, SHA256: opened.SHA256,
			}, func(t table) {
				t.row("FILE", "PART", "TYPE", "BYTES", "SHA-256")
				t.row(out, fmt.Sprintf("%d of %d", opened.Part, opened.Parts), opened.MediaType, fmt.Sprint(opened.Size), opened.SHA256)
			})
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&in.Purpose, "purpose", "", purposeUsage)
	flags.StringVar(&in.Recipient, "recipient", "", recipientUsage)
	flags.StringVar(&in.Reason, "reason", "", reasonUsage)
	flags.IntVar(&in.Part, "part", 1, "which part of the document")
	flags.StringVar(&path, "file", standardInput, "file with the document's token")
	flags.BoolVar(&force, "force", false, "replace FILE if it exists")
	by.bind(flags)
	return requiring(cmd, "purpose", "reason")
}

// saved is the JSON answer of document get.
type saved struct {
	File      string `json:"file"`
	Document  string `json:"document"`
	Part      int    `json:"part"`
	Parts     int    `json:"parts"`
	MediaType string `json:"media_type"`
	Size      int64  `json:"size"`
	SHA256    string `json:"sha256"`
}

func exists(path string) error {
	return hinted(fmt.Errorf("write the scan: %s exists", path), "name another file, or replace it with --force")
}

// saveDocument streams a document aside, and gives it its name when the SDK has found its digest to be right.
func saveDocument(ctx context.Context, c *client.Client, opened *api.OpenDocumentResponse, out string, force bool) (err error) {
	aside, err := os.CreateTemp(filepath.Dir(out), ".sandyq-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write the scan: %w", err)
	}
	defer func() { err = errors.Join(err, remove(aside.Name())) }()
	if err := receiveDocument(ctx, c, opened, aside); err != nil {
		return errors.Join(err, aside.Close())
	}
	if err := aside.Close(); err != nil {
		return fmt.Errorf("write the scan: %w", err)
	}
	if force {
		err = os.Rename(aside.Name(), out)
	} else {
		err = os.Link(aside.Name(), out) // never replaces
	}
	switch {
	case errors.Is(err, os.ErrExist):
		return exists(out)
	case err != nil:
		return fmt.Errorf("write the scan: %w", err)
	}
	return nil
}

func receiveDocument(ctx context.Context, c *client.Client, opened *api.OpenDocumentResponse, to io.Writer) error {
	content, err := c.ReadDocument(ctx, opened)
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, content); err != nil {
		return errors.Join(fmt.Errorf("read the scan: %w", err), content.Close())
	}
	return content.Close()
}

// remove removes a file that may have been given another name.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove what was written aside: %w", err)
	}
	return nil
}
