package market

import "ms2m.dev/ms2m/examples/exchange/book"

// Reference is the order book once more, as simple as can be: one list of all orders in
// the order of their coming, looked through for the best each time. It shares
// nothing with the book but the types.
type Reference struct{ orders []order }

type order struct {
	book.Order
	side book.Side
}

// Apply does what Book.Apply does.
func (r *Reference) Apply(id string, c book.Command) book.Result {
	if c.Cancel != "" {
		for i, o := range r.orders {
			if o.ID == c.Cancel {
				r.drop(i)
				return book.Result{Cancelled: o.Quantity}
			}
		}
		return book.Result{}
	}
	var result book.Result
	rest := c.Quantity
	for rest > 0 {
		best := -1
		for i, o := range r.orders {
			if o.side != c.Side && accepts(c, o.Price) && (best < 0 || better(c.Side, o.Price, r.orders[best].Price)) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		o := &r.orders[best]
		n := min(rest, o.Quantity)
		t := book.Trade{Buy: id, Sell: o.ID, Price: o.Price, Quantity: n}
		if c.Side == book.Sell {
			t.Buy, t.Sell = o.ID, id
		}
		result.Trades = append(result.Trades, t)
		o.Quantity -= n
		rest -= n
		if o.Quantity == 0 {
			r.drop(best)
		}
	}
	if rest > 0 {
		r.orders = append(r.orders, order{book.Order{ID: id, Price: c.Price, Quantity: rest}, c.Side})
	}
	result.Rests = rest
	return result
}

func (r *Reference) drop(i int) { r.orders = append(r.orders[:i:i], r.orders[i+1:]...) }

// accepts reports whether a command trades at a price.
func accepts(c book.Command, price uint64) bool {
	if c.Side == book.Buy {
		return price <= c.Price
	}
	return price >= c.Price
}

// better reports whether price a is better than b for who trades.
func better(side book.Side, a, b uint64) bool {
	if side == book.Buy {
		return a < b
	}
	return a > b
}

// View is everything in the book, the best price first and within a price the oldest.
func (r *Reference) View() book.View {
	return book.View{Bids: r.sorted(book.Buy), Asks: r.sorted(book.Sell)}
}

func (r *Reference) sorted(side book.Side) []book.Order {
	orders := []book.Order{}
	for _, o := range r.orders {
		if o.side != side {
			continue
		}
		i := len(orders)
		for i > 0 && better(side, orders[i-1].Price, o.Price) { // for who trades the worse: for the side the better
			i--
		}
		orders = append(orders[:i:i], append([]book.Order{o.Order}, orders[i:]...)...)
	}
	return orders
}
