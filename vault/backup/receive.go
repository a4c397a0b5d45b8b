package backup

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/go-json-experiment/json"
)

// WriteRequest writes what a client asks: recipients, and all that the repository has. ErrRecipients: it has what is encrypted
// to others.
func (r *Repository) WriteRequest(ctx context.Context, w io.Writer, recipients []string) error {
	if err := r.isFor(recipients); err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(w, 64<<10)
	if err := WriteAsk(buffered, Ask{Vault: r.config.Vault, Recipients: recipients}); err != nil {
		return err
	}
	err := r.objects.List(ctx, chunksFolder, func(name string, _ int64) error {
		id, ok := parseChunkObject(name)
		if !ok {
			return nil
		}
		return writeFrame(buffered, frameChunk, ChunkRef{ID: id}.encode())
	})
	if err == nil {
		err = r.objects.List(ctx, blobsFolder, func(name string, _ int64) error {
			ref, ok := parseBlobObject(name)
			if !ok {
				return nil
			}
			return writeFrame(buffered, frameBlob, ref.encode())
		})
	}
	if err != nil {
		return fmt.Errorf("tell what the repository has: %w", err)
	}
	return buffered.Flush()
}

// Progress is how far a backup has come.
type Progress struct {
	Chunks, Blobs int64 // that were listed
	Bytes         int64 // of these, in plaintext
	New           int64 // objects that were written
	Written       int64 // bytes of these
}

// Receive takes the answer to what WriteRequest wrote in, until its snapshot is one. progress, unless nil, is told now and then. After an error what
// came is kept; a problem that the server told of is given to problem to make an error of.
func (r *Repository) Receive(ctx context.Context, stream io.Reader, progress func(Progress), problem func([]byte) error) (_ *Header, err error) {
	in := &receiving{repository: r, ctx: ctx, listing: sha256.New()}
	defer in.abort()
	if in.list, err = r.objects.Create(ctx); err != nil {
		return nil, err
	}
	f := &frames{r: bufio.NewReaderSize(stream, 256<<10)}
	kind, payload, err := f.next(maxFrame)
	var welcome Welcome
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrCut, err)
	case kind == frameFailure:
		return nil, problem(payload)
	case kind != frameWelcome || json.Unmarshal(payload, &welcome) != nil || welcome.Vault == "":
		return nil, errors.New("the answer is no backup")
	}
	if err := r.claim(ctx, welcome.Vault); err != nil {
		return nil, err
	}
	for {
		kind, payload, err := f.next(maxFrame)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%w: %w", ErrCut, err), r.objects.Flush(ctx))
		}
		if kind == frameFailure {
			return nil, errors.Join(problem(payload), r.objects.Flush(ctx))
		}
		header, err := in.take(kind, payload)
		if err != nil || header != nil {
			return header, err
		}
		if progress != nil {
			progress(in.progress)
		}
	}
}

// receiving is a stream on its way into a repository.
type receiving struct {
	repository *Repository
	ctx        context.Context // of Receive, which alone uses this
	data       Object          // the object whose data comes; nil between objects
	list       Object          // the listing, aside
	listing    hash.Hash
	listed     int64 // bytes
	manifest   []byte
	progress   Progress
}

func (in *receiving) abort() {
	for _, o := range []Object{in.data, in.list} {
		if o != nil {
			o.Abort()
		}
	}
}

// take takes one frame. The header ends the stream.
func (in *receiving) take(kind frameKind, payload []byte) (*Header, error) {
	switch kind {
	case frameData:
		return nil, in.write(payload)
	case frameChunk:
		ref, err := decodeChunkRef(payload)
		if err != nil {
			return nil, err
		}
		in.progress.Chunks++
		in.progress.Bytes += int64(ref.Bytes)
		return nil, in.refer(ref.object(), payload)
	case frameBlob:
		ref, err := decodeBlobRef(payload)
		if err != nil {
			return nil, err
		}
		in.progress.Blobs++
		in.progress.Bytes += int64(ref.Size)
		return nil, in.refer(ref.object(), payload)
	case frameManifest:
		in.manifest = append([]byte(nil), payload...)
		return nil, nil
	case frameHeader:
		return in.end(payload)
	}
	return nil, errors.New("the server sent a frame that no backup has")
}

func (in *receiving) write(data []byte) (err error) {
	if in.data == nil {
		if in.data, err = in.repository.objects.Create(in.ctx); err != nil {
			return err
		}
		in.progress.New++
	}
	n, err := in.data.Write(data)
	in.progress.Written += int64(n)
	if err != nil {
		return fmt.Errorf("write into the repository: %w", err)
	}
	return nil
}

// refer gives the data that came its name, and lists it. An object without data must be there.
func (in *receiving) refer(name string, ref []byte) error {
	in.listing.Write(ref)
	in.listed += int64(len(ref))
	if _, err := in.list.Write(ref); err != nil {
		return fmt.Errorf("write into the repository: %w", err)
	}
	if in.data == nil {
		f, err := in.repository.objects.Open(in.ctx, name)
		if err != nil {
			return damaged("%s is not there any more", name)
		}
		return f.Close()
	}
	data := in.data
	in.data = nil
	return data.Commit(name)
}

// end writes the snapshot.
func (in *receiving) end(payload []byte) (*Header, error) {
	header, err := decodeHeader(payload)
	if err != nil {
		return nil, err
	}
	if in.manifest == nil || in.data != nil || header.Listing != hex.EncodeToString(in.listing.Sum(nil)) ||
		in.listed != header.Chunks*chunkRefSize+header.Blobs*blobRefSize {
		return nil, fmt.Errorf("%w: what came is not what was sent", ErrCut)
	}
	if err := in.list.Commit(listingObject(header.ID)); err != nil {
		return nil, err
	}
	// What the snapshot lists is durable under its names before the snapshot has one.
	if err := in.repository.objects.Flush(in.ctx); err != nil {
		return nil, err
	}
	file, err := snapshotOf(header, in.manifest)
	if err != nil {
		return nil, err
	}
	if err := in.repository.write(in.ctx, snapshotObject(header.ID), file); err != nil {
		return nil, err
	}
	return header, in.repository.objects.Flush(in.ctx)
}
