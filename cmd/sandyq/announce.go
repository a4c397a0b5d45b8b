package main

import (
	"fmt"
	"io"
	"os"
)

// serving is the one line that tells programs where a server listens. It comes when both addresses take requests.
type serving struct {
	API       string `json:"api"` // URL
	Ops       string `json:"ops"` // URL
	Home      string `json:"home"`
	Dev       bool   `json:"dev,omitzero"`
	TokenFile string `json:"token_file,omitempty"` // with dev
	Token     string `json:"token,omitempty"`      // with dev, when it was made just now
}

// announce tells the user where the server listens, and shows a token that was made for it. For client commands on this
// machine the address is left in the home.
func (e *env) announce(c config, f *front, dev bool, token string) error {
	if err := os.WriteFile(c.addressFile(), []byte(f.apiURL+"\n"), 0o600); err != nil {
		return fmt.Errorf("leave the address for the client commands: %w", err)
	}
	s := serving{API: f.apiURL, Ops: f.opsURL, Home: c.Home, Dev: dev, Token: token}
	if dev {
		s.TokenFile = c.devToken()
	}
	return e.answer(s, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "serving the API at %s\nhealth, readiness and metrics at %s\n", s.API, s.Ops)
		if s.Token != "" {
			_, err = fmt.Fprintf(w, "the administrator's token, shown this once and kept in %s:\n\n    %s\n\n", s.TokenFile, s.Token)
		} else if s.Dev {
			_, err = fmt.Fprintf(w, "the administrator's token is in %s\n", s.TokenFile)
		}
		return err
	})
}
