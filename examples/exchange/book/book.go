// Package book is the order book of an exchange: orders to buy and to sell, matched by price,
// and among those of one price by the time they came. What comes out depends on the order of what
// goes in, so one message too few, too many or out of place shows in the trades.
package book

import (
	"errors"
	"fmt"
	"slices"
)

// Side is what an order wants.
type Side string

// The sides.
const (
	Buy  Side = "buy"
	Sell Side = "sell"
)

// Command is what a trader sends: an order with a limit, or the cancellation of one.
type Command struct {
	Side     Side   `json:"side,omitempty"`
	Price    uint64 `json:"price,omitempty"` // the worst that is accepted
	Quantity uint64 `json:"quantity,omitempty"`
	Cancel   string `json:"cancel,omitempty"` // the order that is taken back, instead
}

// Validate tells what is wrong with a command.
func (c Command) Validate() error {
	switch {
	case c.Cancel != "" && (c.Side != "" || c.Price != 0 || c.Quantity != 0):
		return errors.New("cancel: a cancellation has no side, price or quantity")
	case c.Cancel != "":
		return nil
	case c.Side != Buy && c.Side != Sell:
		return fmt.Errorf("side: is %q, must be buy or sell", c.Side)
	case c.Price == 0:
		return errors.New("price: must be 1 or more")
	case c.Quantity == 0:
		return errors.New("quantity: must be 1 or more")
	}
	return nil
}

// Order is an order that rests in the book.
type Order struct {
	ID       string `json:"id"`
	Price    uint64 `json:"price"`
	Quantity uint64 `json:"quantity"` // what is left of it
}

// Trade is a trade, at the price of the order that had been there.
type Trade struct {
	Buy      string `json:"buy"` // the two orders
	Sell     string `json:"sell"`
	Price    uint64 `json:"price"`
	Quantity uint64 `json:"quantity"`
}

// Result is what a command has done.
type Result struct {
	Trades    []Trade `json:"trades,omitempty"`
	Rests     uint64  `json:"rests,omitempty"`     // what went into the book of the order
	Cancelled uint64  `json:"cancelled,omitempty"` // what was left of the order that was taken back
}

// View is everything that is in a book, the best price first and within a price
// the oldest.
type View struct {
	Bids []Order `json:"bids"`
	Asks []Order `json:"asks"`
}

// level is the orders of one price, the oldest first.
type level struct {
	price  uint64
	orders []Order
}

// place is where an order rests.
type place struct {
	side  Side
	price uint64
}

// Book is an order book. It is nothing but its past commands: no clock, no random
// number, no map that is walked through.
type Book struct {
	bids, asks []level // the best price last, where it is cheap to take away
	places     map[string]place
}

// New makes an empty book.
func New() *Book { return &Book{places: make(map[string]place)} }

// Apply does what a valid command says; id names the order that it may be.
func (b *Book) Apply(id string, c Command) Result {
	if c.Cancel != "" {
		return Result{Cancelled: b.cancel(c.Cancel)}
	}
	trades, rest := b.match(id, c)
	if rest > 0 {
		b.rest(c.Side, Order{ID: id, Price: c.Price, Quantity: rest})
	}
	return Result{Trades: trades, Rests: rest}
}

// match trades an order with those of the other side that its limit accepts.
func (b *Book) match(id string, c Command) (trades []Trade, rest uint64) {
	rest = c.Quantity
	others := b.side(other(c.Side))
	for rest > 0 && len(*others) > 0 {
		best := &(*others)[len(*others)-1]
		if c.Side == Buy && best.price > c.Price || c.Side == Sell && best.price < c.Price {
			break
		}
		oldest := &best.orders[0]
		n := min(rest, oldest.Quantity)
		trade := Trade{Buy: id, Sell: oldest.ID, Price: best.price, Quantity: n}
		if c.Side == Sell {
			trade.Buy, trade.Sell = trade.Sell, trade.Buy
		}
		trades = append(trades, trade)
		rest -= n
		if oldest.Quantity -= n; oldest.Quantity == 0 {
			b.remove(oldest.ID)
		}
	}
	return trades, rest
}

// rest puts what is left of an order behind those of its price.
func (b *Book) rest(side Side, o Order) {
	levels := b.side(side)
	i, found := find(*levels, side, o.Price)
	if !found {
		*levels = slices.Insert(*levels, i, level{price: o.Price})
	}
	(*levels)[i].orders = append((*levels)[i].orders, o)
	b.places[o.ID] = place{side, o.Price}
}

// cancel takes an order out and tells what was left of it: nothing, if it is not there.
func (b *Book) cancel(id string) uint64 {
	if _, ok := b.places[id]; !ok {
		return 0
	}
	return b.remove(id).Quantity
}

// remove takes an order out that is there.
func (b *Book) remove(id string) Order {
	p := b.places[id]
	delete(b.places, id)
	levels := b.side(p.side)
	i, _ := find(*levels, p.side, p.price)
	l := &(*levels)[i]
	j := slices.IndexFunc(l.orders, func(o Order) bool { return o.ID == id })
	o := l.orders[j]
	if l.orders = slices.Delete(l.orders, j, j+1); len(l.orders) == 0 {
		*levels = slices.Delete(*levels, i, i+1)
	}
	return o
}

func (b *Book) side(s Side) *[]level {
	if s == Buy {
		return &b.bids
	}
	return &b.asks
}

// find is where a price is among the levels of a side, or would be.
func find(levels []level, side Side, price uint64) (int, bool) {
	return slices.BinarySearchFunc(levels, price, func(l level, price uint64) int {
		switch {
		case l.price == price:
			return 0
		case (l.price < price) == (side == Buy): // worse, so it stands before
			return -1
		}
		return 1
	})
}

func other(s Side) Side {
	if s == Buy {
		return Sell
	}
	return Buy
}

// View is a copy of everything that is in the book.
func (b *Book) View() View { return View{Bids: flat(b.bids), Asks: flat(b.asks)} }

func flat(levels []level) []Order {
	orders := []Order{}
	for _, l := range slices.Backward(levels) {
		orders = append(orders, l.orders...)
	}
	return orders
}
