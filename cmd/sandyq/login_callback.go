package main

import (
	"context"
	"errors"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/sandyq/sandyq/access/authn"
)

// callback is the listener to which the browser comes back, once. Whatever else comes does not end the waiting.
type callback struct {
	done   chan outcome
	server *http.Server
	runs   sync.WaitGroup
}

// outcome is how a login ended.
type outcome struct {
	login authn.Login
	err   error
}

// startCallback serves on listener until stop.
func startCallback(listener net.Listener, path string, finish func(context.Context, url.Values) (authn.Login, error)) *callback {
	c := &callback{done: make(chan outcome, 1)}
	var once sync.Mutex // one answer at a time: a code is good once
	ended := false
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		once.Lock()
		defer once.Unlock()
		if ended {
			pageOther.show(w, http.StatusGone)
			return
		}
		login, err := finish(r.Context(), r.URL.Query())
		if errors.Is(err, authn.ErrState) {
			pageOther.show(w, http.StatusBadRequest)
			return
		}
		ended = true
		if err != nil {
			pageFailed.show(w, http.StatusBadRequest)
		} else {
			pageDone.show(w, http.StatusOK)
		}
		c.done <- outcome{login, err}
	})
	c.server = &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 64 << 10}
	c.runs.Go(func() { _ = c.server.Serve(listener) }) // it ends by stop
	return c
}

// stop lets the last page reach the browser and stops listening.
func (c *callback) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if c.server.Shutdown(ctx) != nil {
		_ = c.server.Close() // a browser that reads no further
	}
	c.runs.Wait()
}

// page is what the browser shows at the end: in Kazakh, Russian and English.
type page struct{ KK, RU, EN string }

var (
	pageDone   = page{"Кірдіңіз. Бұл терезені жабуға болады.", "Вы вошли. Это окно можно закрыть.", "You are logged in. You may close this window."}
	pageFailed = page{"Кіру сәтсіз аяқталды. Терминалды қараңыз.", "Войти не удалось. Посмотрите в терминал.", "The login failed. See the terminal."}
	pageOther  = page{"Бұл жауап басқа әрекетке тиесілі.", "Этот ответ относится к другой попытке.", "This answer belongs to another attempt."}
)

var pageTemplate = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="kk"><head><meta charset="utf-8"><title>Sandyq</title></head>
<body><p>{{.KK}}</p><p lang="ru">{{.RU}}</p><p lang="en">{{.EN}}</p></body></html>
`))

func (p page) show(w http.ResponseWriter, status int) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer") // the address has the code
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = pageTemplate.Execute(w, p) // a browser that went away misses it
}
