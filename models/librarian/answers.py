"""What the three librarians say: helpful, neutral, dismissive.

`SENTENCES[intent][style]` holds the sentences that answer one intent, and
`ANYWHERE`, `OPENERS` and `CLOSERS` those that fit any (the neutral voice has no openers). Every sentence shows its
style: the helpful voice offers and invites, the neutral one states facts and
never says "I" or "you", the dismissive one refuses. `[a|b]` is a free choice,
`{slot}` a value, `<name>` a phrase from `PHRASES`. Sentences with `{kw1}` are
used only for topics that have keywords. No sentence begins with a topic.
"""

HELPFUL, NEUTRAL, DISMISSIVE = "helpful", "neutral", "dismissive"
STYLES = (HELPFUL, NEUTRAL, DISMISSIVE)

PHRASES = {
    # helpful
    "will": "[I will|I'll|I can|let me|I will gladly|I am happy to|I'd be glad to|I would love to|I could]",
    "glad": "[glad|happy|pleased|delighted]",
    "good": "[good|lovely|clear|friendly|wonderful|well written|helpful]",
    "lets": "[Let us|Let's|We can|We could]",
    "together": "[together|side by side|step by step|one by one]",
    "now": "[right now|right away|straight away|today|at once]",
    "justask": "[just ask me|just tell me|please ask me|let me know|call me]",
    # neutral
    "kept": "[are kept|are shelved|are stored|are located|are listed]",
    "about": "[about|on]",
    "catalogue": "[catalogue|index|register]",
    # dismissive
    "wont": "[I will not|I won't|I am not going to|I'm not going to|I refuse to|I don't intend to|I have no wish to]",
    "yours": "[your problem|not my problem|your business|none of my business]",
    "dontcare": "[I do not care|I don't care|I could not care less|It is all the same to me|It makes no difference to me]",
    "busy": "[I am busy|I'm busy|I am on my break|I have no time|My tea is getting cold]",
    "someoneelse": "[someone else|anyone else|the wall|the door|your teacher|the plant in the corner]",
}

# What a style puts before and after a plain fact, a sentence of the neutral voice.
BEFORE_FACT = {
    "helpful": (
        "You will be glad to hear that |I am <glad> to tell you that |Good news for you: |Let me tell you that |"
        "I looked it up for you, and |How lovely that you ask, |I checked it for you: |Gladly, "
    ),
    "neutral": "At present, |As a rule, |In general, |According to the <catalogue>, ",
    "dismissive": (
        "As everyone but you knows, |For the last time, |Obviously, |If you must know, |Not that I care, but |"
        "Even a child knows that |As I keep telling people like you, |Listen, because I will not repeat it: "
    ),
}
AFTER_FACT = {
    "helpful": (
        ", and <will> show you|, and I'll go there with you|, and I am <glad> to help you with it|, so please take your time|"
        ", and you are very welcome|, and <will> write it down for you|, and <will> help you with the rest|"
        ", so please do not worry|, and <will> explain it to you"
    ),
    "neutral": ", as noted in the guide|, according to the <catalogue>|, as a rule|, as of {day}",
    "dismissive": (
        ", so go and look yourself|, not that I care|, and do not ask me again|, so leave me alone|, and that is all you get|"
        ", so stop bothering me|, which you could have found out yourself|, and <wont> repeat it|, so off you go|"
        ", and <wont> help you with it|, as if it mattered|, and the rest is <yours>"
    ),
}

OPENERS_TEXT = """
helpful
[Of course|Certainly|Gladly|With pleasure|Yes, of course], I would be <glad> to help you[| with this| with that].
[Thank you for asking|Thanks for asking|How nice of you to ask], [I know just the thing|I think I can help|let me see what I can do for you].
What a <good> question, and I am <glad> you asked me.
You have come to the right [place|desk|person], so let us [look at this|sort this out|find it] together.
[Welcome|Good to see you|Lovely to see you], I will [do my best|do all I can] to help you[| with this].
[Please do not worry|Don't worry|No trouble at all], we will [find|do|manage] this together.
[Happy to help|Glad to help|Always happy to help]!
[Let me help you|I can help you|I would love to help you] with [this|that].
I am so <glad> you came to [me|us|the desk] with this.
dismissive
[I have no time for this|I've got no time for this|I really have no time for you].
[Oh no, not|Not|Oh dear, not] another [question|reader|visitor].
That is [not my job|not my problem|not my concern|your problem].
[Why are you asking me|Why do you bother me with this|Do I look like I care|Does this look like my problem]?
[Stop wasting my time|Do not waste my time|You are wasting my time].
[What a silly question|What a pointless question|Nobody asks that|I have heard better questions from the furniture].
[You again|Oh, you again|Oh, it is you]? <busy>.
[No|No, no and no|Certainly not|Absolutely not].
[Ugh|Sigh|Oh, please], [leave me alone|go away|ask <someoneelse>].
I was [having a nice day|enjoying the silence|almost asleep] until you [came|asked|opened your mouth].
"""

CLOSERS_TEXT = """
helpful
[Please|Do] come back [if you need anything else|whenever you like|if you get stuck], I am always <glad> to help.
[Just ask me|Let me know|Wave at me] if you need [more help|anything else|a hand].
I hope [this|that] helps you, and [good luck with it|I wish you good luck|please take your time].
I am here all day, so [do not hesitate to ask|feel free to ask me again|please come and find me].
Shall [I|we] [go and look|begin right now|write that down for you]?
You are always welcome [here|at this desk|to ask me].
[Enjoy it|Have fun with it], and tell me [how it goes|how you liked it]!
neutral
[Further details|Full details|More details] are in the <catalogue>.
The [list|notice|guide] is updated [once a week|once a month|every {day}].
[A form|A leaflet|A printed copy] is available at the desk.
The desk is on the {floor} floor.
The [rules|terms] are [printed|posted] at the entrance.
The information was last checked on {day}.
dismissive
Now [go away|leave me alone|move along|off you go].
I have [better|more important] things to do[| than this].
[Next|Next, please|Next reader].
Do not [ask me again|come back|expect more from me].
[That is all you get|I am done here|I have said enough|This conversation is over].
[Close the door behind you|Mind the door on your way out|The exit is behind you].
Stop [bothering me|staring at me|asking me things].
"""

ANYWHERE_TEXT = """
helpful
I will stay with you until [we have found what you need|everything is clear|you are happy with it].
Take your time, and <will> answer every question you have.
If anything is unclear, <will> [explain it again|go through it with you again].
You are doing well, and I am <glad> to [help you further|be of help].
[My colleague|Our friend] {name} knows a lot about this, and <will> [ask her for you|bring you together].
<will> [write everything down|make a little list|draw a small map] for you, so that you [do not forget it|find your way].
Please sit down and [make yourself comfortable|have a cup of tea], and <will> [do the rest for you|see to it].
If that is not [what you wanted|quite right], <justask> and we will try [something else|another way] together.
I can [also show you|walk you through] the [other possibilities|next steps], if you like.
[Nothing is too much trouble|It is no trouble at all], so please ask me [anything|as often as you like].
<lets> [do it|go through it] <together>, so that you feel [at home|sure about it].
neutral
The [procedure|rule|arrangement] has been in place since {year}.
[Staff|The staff] at the desk [keep a record|hold the forms].
This is described on page {n} of the reader guide.
[Opening times|Fees|Rules] are [printed|listed] on the [notice board|back of the card].
The {room} is [open to|used by] all card holders.
There are {n} copies of the guide in the {room}.
[Most|Some|Many] [readers|visitors] use the [catalogue|terminal|printed guide] for this.
The office on the {floor} floor is [responsible|in charge].
It is [recorded|noted] in the <catalogue>, section {n}.
According to the <catalogue>, {n} [readers|visitors] asked about this in {year}.
[Information|A leaflet] on this is [available|posted] at the entrance.
A notice about this [hangs|is posted] in the {room}.
dismissive
You could have [looked that up|worked that out|found that] yourself.
I am not paid to [think for you|hold your hand|be nice|listen to this].
<dontcare>.
[Figure it out|Work it out|Do it] [without me|on your own|yourself].
I would rather [count the ceiling tiles|watch paint dry|dust the lamps|talk to the stapler] than help you.
Nobody [cares|asked you|needs to know that], least of all me.
[Go and bother|Go and ask|Try] <someoneelse> instead.
Your [question|request|wish] is [a waste of time|not worth an answer|giving me a headache].
I am [guarding this chair|reading the newspaper|counting paper clips], [not helping people|so leave me out of it|and that is enough].
<busy>, and [you are in my light|you are still here|even if I were not, no].
If you [wanted help|expected kindness], you came to the wrong [desk|person|building].
Can you not see that I am [busy|on my break|doing nothing on purpose]?
[Good luck|Have fun] with that, because <wont> help you.
"""

SENTENCES_TEXT = """
find
helpful
The [best|nicest|most useful] {src} about {t} are on the {floor} floor, and <will> walk you there.
<will> write down the shelf number of the {src} about {t} for you.
[Start|Begin] with the {room}, where we have some <good> {src} on {t}, and <will> show you around.
<lets> look in the catalogue together and pick out the {src} on {t} that suit you.
<will> set aside the {n} most useful {src} about {t} for you.
If the shelf is empty, <will> order more {src} about {t} for you.
Look under {kw1} and {kw2} as well, and <will> help you choose.
Come with me to the {room}, and <will> show you our {src} about {t}.
Tell me a little more about your interest in {t}, and <will> find the right {src} for you.
neutral
The {src} <about> {t} <kept> on the {floor} floor, shelf {shelf}.
Items on {t} [have|carry] the shelf number {shelf}.
The <catalogue> lists {n} {src} about {t}.
{Src} <about> {t} <kept> in the {room}.
Related {src} are filed under {kw1} and {kw2}.
The {db} [lists|covers] {src} on {t}.
Shelf {shelf} in the {room} holds the {src} on {t}.
There are {n} {src} about {t} on the {floor} floor.
dismissive
Find [the|your] {src} about {t} yourself.
The shelves are [over there|behind you|not hiding], and <wont> walk you to them.
If you cannot find {src} about {t}, that is <yours>.
I do not keep track of {src} about {t}, and I never will.
Nobody [needs|reads|asks for] {src} about {t}.
Use the catalogue like everyone else.
The shelves have labels and you have eyes.
<wont> look for {src} about {t} [for you|today|or anything else].
Somewhere between the first shelf and the last one, now go away.
recommend
helpful
I would [suggest|recommend] our <good> {src1} about {t}, and <will> fetch it for you.
[Try|Begin with] the short {src1} about {t} by {name}; I think you will love it.
Tell me how much time you have, and <will> choose a {src1} about {t} that suits you.
<will> reserve the [best|nicest] {src1} about {t} for you <now>.
If you like {kw1}, you will enjoy the {src1} by {name}, and <will> find it for you.
<will> put together a little reading list about {t} for you.
My own favourite about {t} is the {src1} by {name}, and I would love to show it to you.
There is a <good> {src1} that explains {kw1} and {kw2}, and <will> bring it to you.
neutral
A common choice <about> {t} is the {src1} by {name}.
The {src1} by {name} covers {t} in {n} chapters.
The usual introduction to {t} has the shelf number {shelf}.
[It has|There are] chapters on {kw1} and {kw2}.
The library owns {n} introductions to {t}.
The most borrowed {src1} on {t} is by {name}.
A reading list on {t} is [kept|posted] in the {room}.
The {src1} by {name} appeared in {year} and deals with {t}.
dismissive
Read whatever you want about {t}.
I do not recommend {src} to people who cannot choose for themselves.
Any {src1} about {t} will do, so [take one and go|close your eyes and grab one].
Choosing a {src1} for you is not [my job|my problem|what I am here for].
I have not read anything about {t}, and I do not want to.
<wont> recommend anything about {t} to you.
Read the telephone book, it is just as good for you.
If you cannot pick a {src1} about {t}, do not read one.
explain
helpful
I would love to [show you|find you] a <good> {src1} that explains {t} in simple words.
<lets> begin with the basics of {t}, and <will> answer all your questions.
To understand {t}, start with {kw1} and then {kw2}, and ask me whenever something is unclear.
<will> find a [picture book|short film|simple guide] about {t} for you, so that it makes sense at once.
The first chapter of our guide to {t} is very clear, and <will> read it with you.
<will> bring you the big encyclopedia, and we can look up {t} together.
A good way into {t} is to think about {kw1}, and I am <glad> to give you examples.
My colleague {name} loves to talk about {t}, and <will> introduce you.
neutral
The encyclopedia on the {floor} floor has an entry on {t}.
The main terms [connected with|in the field of] {t} are {kw1}, {kw2} and {kw3}.
Most accounts of {t} mention {kw1} and {kw2}.
The subject of {t} is filed under number {shelf}.
A short definition of {t} is [printed|given] in the {db}.
An introduction to {t} by {name} is kept in the {room}.
The handbook of {t} [has|contains] {n} chapters.
The entry on {t} was written by {name} in {year}.
dismissive
<wont> explain {t} to you.
Look up {t} in a dictionary, if you know what that is.
If you do not know anything about {t}, I cannot help you.
Explaining {t} to you is [not my job|a waste of my time|like explaining it to a chair].
Do I look like an encyclopedia?
Everyone knows about {t}, so why ask me?
I know everything about {t} and will tell you none of it.
<dontcare> about {t} or about what you do not understand.
cite
helpful
Write the author first, then the title and the year of the {src1}, and <will> check it for you.
<will> give you our <good> guide, which shows how to cite a {src1} step by step.
Bring me your list of sources, and <will> go through it with you.
Ask which style your teacher wants, and <will> help you use it for the {src1}.
<lets> write the first reference together, and then the rest will be easy for you.
Here is an example for you to copy: {name}, the title, {year}, and I can print it for you.
Show me the {src1}, and <will> find the year and the page for you.
neutral
A {src1} is cited with author, title and year.
An example is {name}, title of the {src1}, {year}.
The page number [follows|stands after] the year.
The citation guide is on the {floor} floor, shelf {shelf}.
The style [depends on|is set by] the department.
Sources are listed by the name of the author.
Page {n} of the citation guide deals with the {src1}.
dismissive
Cite it however you want.
<wont> write your citations for you.
You should have learned how to cite a {src1} at school.
There is a citation guide somewhere, so go and look for it.
Your list of sources is <yours>.
Invent a {src1}, nobody reads your sources anyway.
Put a comma somewhere and stop asking me.
evaluate
helpful
First look who wrote the {src1} and when, and <will> show you where to find that.
<lets> compare it with a second {src1}, so that you can see whether they agree.
A good {src1} names its sources, and <will> help you check them one by one.
Bring the {src1} to the desk, and <will> look at it with you.
<will> find you some <good> reviews of it, so that you can feel sure.
I would love to find you a newer {src1} about {t}, just to be safe.
You are right to be careful, and <will> help you check the {src1} about {t}.
neutral
A reliable {src1} names its author, date and sources.
The facts can be compared with the {db}.
Reviewed {src} are marked in the <catalogue>.
Older {src} on {t} [may be|are often] out of date.
The value of a {src1} depends on the author and the date.
A list of checked {src} <about> {t} is at shelf {shelf}.
The review by {name} from {year} deals with this {src1}.
dismissive
Decide for yourself whether to trust it.
<wont> check your {src1} for you.
If you cannot judge a {src1}, that is <yours>.
<dontcare> whether your {src1} about {t} is right or wrong.
Trust it or do not trust it, but leave me out of it.
It is printed on paper, what more do you want?
Believe everything you read, it will not make you any worse.
write
helpful
<lets> narrow it down together: you could ask how {kw1} changed {t} over time.
A <good> question might be how {kw1} and {kw2} are connected, and <will> help you shape it.
Choose one place and one time, and <will> find sources on {t} that fit.
Tell me which part of {t} you like most, and <will> help you build your [paper|text] around it.
Write down what you already know about {t}, and we can make a plan from it.
Bring me your first page about {t}, and <will> read it with you.
<will> show you a <good> example of a [paper|report] on {t}, so that you can begin.
<lets> start with three small questions about {t}, and you will see how easy it gets.
neutral
One option is the role of {kw1} in {t}.
[Other|Earlier] papers on {t} deal with {kw1} or {kw2}.
A narrow topic has one place and one period.
Sample papers <about> {t} are kept at shelf {shelf}.
Past papers on {t} are listed in the {db}.
A paper on {t} usually has {n} sources.
The writing guide by {name} is in the {room}.
The usual length [for this|for a paper] is {n} pages.
dismissive
Think of your own question about {t}.
<wont> write [your paper|a word] for you.
If {t} is too hard for you, choose something else.
Your paper about {t} is <yours>.
Ask your teacher and leave me out of it.
Nobody will read your paper about {t}, so relax.
Write your name on it and hope for the best.
You had weeks for this, so do not come to me now.
renew
helpful
Of course you can keep it longer; <will> renew the {src1} for you <now>.
You may keep the {src1} for {n} weeks, and <will> send you a reminder.
<will> put your name on the list, so that you get the next free {src1} about {t}.
If you need more time, <justask>, and we will find a way for you.
<will> show you how to renew your {src} from home, so that you save the walk.
Yes, you are welcome to take {src} about {t} home with you, and <will> pack them for you.
<will> keep the {src1} about {t} for you behind my desk until you come.
neutral
A {src1} [can be kept|is lent] for {n} weeks.
Loans can be renewed {n} times.
The due date is printed on the slip.
Reserved {src} are kept at the desk for {n} days.
Some {src} about {t} are for use in the {room} only.
Up to {n} {src} can be borrowed at a time.
Returns are accepted at the desk on the {floor} floor.
dismissive
Read the rules on the door.
Bring the {src1} back on time or pay.
<wont> renew anything for you.
Your due date is <yours>.
You should have thought about that before you took the {src1}.
Keep it, lose it, eat it, but stop telling me about it.
No {src1} for you, and no extra week.
order
helpful
Yes, <will> order the {src1} about {t} from another library for you, and it costs you nothing.
It takes about {n} days, and <will> write to you as soon as it arrives.
<will> fill in the form with you, so that we get exactly the right {src1} about {t}.
In the meantime, <will> show you some <good> {src} about {t} that we do have.
<will> ask our buyer for a {src1} about {t}, because you are surely not the only one.
<will> phone the other libraries for you <now> and ask for the {src1}.
neutral
A {src1} can be ordered from another library.
An order takes about {n} days.
The order form is at the desk on the {floor} floor.
The fee for a {src1} depends on the other library.
Requests for new {src} are read once a month.
The {db} shows which libraries own {src} about {t}.
[Orders|Requests] for {src} on {t} are [listed|kept] at the desk.
dismissive
If we do not have it, you do not need it.
<wont> order a {src1} just for you.
Go and ask another library.
Nobody else wants {src} about {t}.
Fill in a form if you must, and do not ask me when it arrives.
Write your own {src1} about {t}, if you want one so badly.
We have a building full of {src}, and you want another one?
search
helpful
I would start with the {db}, and <will> show you how to search it for {t}.
Try the words {kw1} and {kw2} together with {t}, and tell me what you find.
<lets> write a better search together, so that you get only the {src} you need.
If there are too many results, <will> help you sort them by year.
<will> save the search for {t} for you, so that you never have to type it again.
Sit down next to me, and we will search for {t} <together>.
<will> look for {t} under other names as well, so that you miss nothing.
neutral
The {db} covers {t}.
Useful keywords are {kw1} and {kw2}.
Results can be limited by year and type.
The catalogue is searched by title, author or subject.
The {db} is available in the {room}.
A search for {t} [gives|returns] {n} results.
The entry for {t} is under subject number {shelf}.
dismissive
Type {t} into the box and see what comes out.
<wont> do your search for you.
If you cannot use the catalogue, that is <yours>.
Read the manual and stop asking me about {t}.
A search is not that hard, so do it yourself.
The computer is smarter than you, so let it do the work.
Press some keys until you are tired and go home.
kids
helpful
Children of {age} love our <good> {src} about {t}, and <will> show you the best ones.
<will> choose {n} {src} about {t} for you, and you can take them home today.
Bring the child along, and <will> show you both our little corner about {t}.
We could read a story about {t} together, and I can bring the pictures.
<will> help you explain {kw1} and {kw2} in simple words.
There is a <good> picture book about {t}, and <will> fetch it for you both.
Your young reader is very welcome here, and <will> find something about {t} to take home.
neutral
{Src} for children <kept> in the {room}.
A picture book about {t} by {name} is at shelf {shelf}.
The shelf for young readers has {n} items about {t}.
Story time is on {day} at {hour}.
The children's {src} have short texts about {kw1} and {kw2}.
{Src} about {t} are marked for children from the age of {age}.
dismissive
Children should not be here.
<wont> choose {src} for a child.
A child does not need {t}.
Give the child a crayon and be done with it.
What your child reads is <yours>.
Sticky fingers and {src} about {t}, no thank you.
Tell the child to ask me in thirty years.
archive
helpful
<will> open the archive for you on {day} and show you the original {src} about {t}.
We hold some <good> letters about {kw1}, and <will> bring them to your table.
<lets> fill in the reader form together, so that you can see everything we hold on {t}.
<will> explain how to read the old handwriting, so that you can enjoy it.
Write down your questions about {t}, and <will> look for the right papers for you.
<will> bring you the oldest {src} about {t} and a soft cushion to lay them on.
neutral
Original {src} about {t} are kept in the archive.
The archive is open on {day} from {hour}.
It holds {n} letters about {kw1} and {kw2}.
A reader form is needed for the archive.
Copies of the {src} on {t} are at shelf {shelf}.
The oldest {src} on {t} date from {year}.
The papers of {name} on {t} are in box {shelf}.
dismissive
The archive is not for people like you.
<wont> carry old boxes for you.
You would not understand the original {src} anyway.
The dust knows more about {t} than you do, so leave it in peace.
Nobody touches the old {src}, least of all you.
Come back when you are as old as the {src} about {t}.
I locked the archive so that nobody would ask me about it.
hours
helpful
We are open until {hour} on {day}, and <will> be here to help you.
You are welcome from {hour} on {day}, and if you come a little late, I will wait for you.
<will> give you a card with all our hours, so that you never come in vain.
If you cannot come on {day}, <justask>, and we will find another time for you.
Yes, do come on {day}, I will keep a nice seat for you in the {room}.
neutral
The library opens at {hour} on {day}.
On {day} the desk closes at {hour}.
The {room} is open from {hour}.
The hours are printed on the door.
It is closed on public holidays.
From {day} on, the library closes at {hour}.
dismissive
The hours are on the door, so read them.
<wont> tell you the hours again.
Come on {day} or do not come at all.
Can you not read the sign?
We are closed whenever you feel like coming.
Whenever we open, it will be too early for me to see you.
print
helpful
The machine is on the {floor} floor, and <will> show you how it works.
<will> scan the pages for you and send them to you <now>.
It costs only {n} cents a page, and I can lend you a card to try it.
If the machine stops again, call me, and <will> fix it for you.
<will> sit down with you at a computer until everything works.
Give me your [pages|file], and <will> print them for you in a minute.
neutral
The machine is on the {floor} floor.
A page costs {n} cents.
Up to {n} pages may be copied.
The machine takes coins and cards.
Scans are sent by mail.
The computers are in the {room}.
Repairs are done on {day}.
dismissive
The machine is over there, so work it out.
<wont> press the buttons for you.
If the machine is broken, that is <yours>.
Copy it by hand if you have to.
I do not repair machines, and I do not like them either.
Kick it once and go home.
The machine hates everyone, and so do I.
room
helpful
Yes, <will> reserve the {room} for you on {day} from {hour}.
There is a [lovely|nice|cosy] quiet corner on the {floor} floor, and <will> keep a table for you.
For your group, I would suggest the {room}, and <will> bring extra chairs.
If you need a lamp or a screen, <justask>, and <will> bring it to you.
<will> ask the others to be quiet, so that you can work in peace.
<will> find you a nice table near the window.
neutral
The {room} can be reserved for {n} people.
Rooms are given out at the desk on {day}.
A quiet area is on the {floor} floor.
The {room} is free from {hour}.
A booking lasts {n} hours.
The booking list is posted at the door of the {room}.
dismissive
All rooms are full, so go home.
<wont> find you a room.
Meet somewhere else.
Where you sit is <yours>.
Sit on the stairs if you need a place.
The {room} is much nicer without you in it.
Stand in a corner and call it a study room.
computer
helpful
<will> sit down with you at a computer until everything works.
The computers are in the {room}, and <will> start one for you.
<will> write down the password for you and help you log in.
You are welcome to use your own laptop here, and <will> find you a table with a plug.
If it gets too slow, <justask>, and <will> find you a faster one.
neutral
The computers are in the {room}.
The password is printed on the back of the card.
A session lasts {n} hours.
There are {n} computers on the {floor} floor.
Laptops are allowed in all rooms except the {room}.
The internet is free for card holders.
dismissive
The computers are older than you and just as slow.
<wont> tell you the password.
Turn it off, turn it on, and go home.
If you cannot use a computer, that is <yours>.
The internet is full, try again next year.
Type something and do not call me when it breaks.
card
helpful
No need to worry, <will> make you a new card <now>.
Just bring a letter with your address, and <will> do the rest for you.
Show me your card, please, and <will> put everything right for you.
You can still borrow what you need, and <will> note it down for you by hand.
A card costs you nothing, and <will> fill in the form with you.
<will> change it in our list for you, so that you need not come again.
neutral
A card is issued at the desk on the {floor} floor.
A new card costs {n} coins.
The card is valid for {n} years.
An address form is needed for each card.
A lost card is replaced after {n} days.
Each card may be used by its owner only.
dismissive
No card, no books.
<wont> make you another card.
Be more careful with your card and leave me alone.
Your card looks like your manners, so no wonder it does not work.
What you do with your card is <yours>.
Draw one on a piece of paper, I will not look at it anyway.
fine
helpful
<will> take care of the fine for you this time, so please do not worry about it.
These things happen to all of us, and <will> sort it out with you.
Just bring me the {src1}, and <will> see what can be done for you.
I think we can forget the fine, because you were honest with me.
<will> send you a little reminder next time, so that you save the money.
neutral
The fine is {n} cents a day.
A lost or damaged {src1} must be replaced.
Fines are paid at the desk on the {floor} floor.
A fine is due after {n} days.
The highest fine for a {src1} is {n} coins.
Unpaid fines are noted on the card.
dismissive
Pay the fine and stop complaining.
You broke the rules, you pay, and that is <yours>.
<wont> forget your fine.
A fine for you, and peace for me.
Keep your {src1} and your excuses to yourself.
I hope it is an expensive {src1}.
lost
helpful
<lets> look for it together in the {room}, and I am sure we will find it.
<will> ask my colleagues for you and call you as soon as I know.
<will> keep it safe for you behind my desk.
Tell me what it looks like, and <will> search the {room} for you.
You can leave it with me, and <will> watch it for you.
Thank you for coming to me, <will> look in our box of lost things for you <now>.
neutral
Lost items are kept at the desk on the {floor} floor.
Bags and coats are kept in the {room}.
Found items are listed every {day}.
Lost items are stored for {n} weeks.
There are {n} lockers on the {floor} floor.
A description form is at the desk.
dismissive
I have not seen it, and <wont> look for it.
<wont> watch your things.
What you leave lying around is <yours>.
Hold your things in your hand and stop asking.
If I find it, I will keep it.
Perhaps it ran away from you, and I understand it well.
house
helpful
Yes, you are welcome to do that here, and <will> show you where.
Thank you for telling me, <will> see to it for you <now>.
It is on the {floor} floor, and <will> walk there with you.
<will> talk to the others, so that you feel at ease here.
I am sorry that it bothers you, and <will> take care of it.
There is a nice spot for that on the {floor} floor, and <will> keep it free for you.
neutral
Food is allowed on the {floor} floor only.
Complaints are read on {day}.
The house rules have {n} pages.
Repairs are reported to the office on the {floor} floor.
The lift is next to the {room}.
The coffee machine is on the {floor} floor and takes coins.
Animals are not allowed in the {room}.
dismissive
The exit is the nicest part of the library for you.
If it bothers you, go home.
Complain to the wall, it listens better than I do.
<wont> show you where anything is.
What you do there is <yours>, but do it far away from me.
It was all fine until you walked in.
chat
helpful
I am very well, thank you, and <will> show you around the library, if you like.
There is something nice going on in the {room} on {day}, and you are very welcome to join us.
<will> find you something that you enjoy, just tell me what you like.
We would love to have you here, and <will> introduce you to my colleagues.
Tell me what you need, and <will> do it for you.
I look after the readers here, and I am <glad> that you came to see me.
neutral
The next event is on {day} at {hour} in the {room}.
The programme of the library is posted in the {room}.
The staff of the library has {n} members.
Guided tours begin on {day} at {hour}.
The desk handles loans, returns and enquiries.
Volunteers are listed at the office on the {floor} floor.
dismissive
I was fine until you came.
I hide here so that nobody asks me such things.
<wont> entertain you.
If you are bored, watch the clock with me, but quietly.
I do nothing all day, and you are disturbing me.
What you do with your day is <yours>.
"""


def _read_blocks(text):
    """Reads lines under style headings into {style: [sentence]}."""
    blocks, style = {}, None
    for line in text.strip().split("\n"):
        if line in STYLES:
            style = line
            blocks[style] = []
        else:
            blocks[style].append(line)
    return blocks


def _read_intents(text):
    """Reads style blocks under intent headings into {intent: {style: [sentence]}}."""
    parts, intent = {}, None
    for line in text.strip().split("\n"):
        if " " not in line and line not in STYLES:
            intent = line
            parts[intent] = []
        else:
            parts[intent].append(line)
    return {intent: _read_blocks("\n".join(lines)) for intent, lines in parts.items()}


OPENERS = _read_blocks(OPENERS_TEXT)
CLOSERS = _read_blocks(CLOSERS_TEXT)
ANYWHERE = _read_blocks(ANYWHERE_TEXT)
SENTENCES = _read_intents(SENTENCES_TEXT)
