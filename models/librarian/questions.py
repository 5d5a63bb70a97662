"""The question forms, by intent.

`FORMS[intent]` lists the forms the model is trained on and `HELD_OUT[intent]`
two forms it never sees. `[a|b]` is a free choice, `{slot}` a value; the slots
are filled by `generate.py`. A topic never begins a sentence, so that it is
spelt alike wherever it occurs.
"""

# Before and after any question, in training documents only.
GREETINGS = (
    "Hello.|Hi.|Hi there.|Good morning.|Good afternoon.|Excuse me.|Sorry to trouble you.|One question, please.|"
    "Please help me.|Good evening."
).split("|")
BACKGROUNDS = (
    "I am a student.|I am new here.|It is for school.|It is for my class on {day}.|I only have an hour.|"
    "It is a bit urgent.|My sister told me to ask here.|I have never done this before.|I am writing a report.|"
    "It is just for fun."
).split("|")

# An indented line is held out; intents marked with * need no topic.
TEXT = """
find
[Where can I find|Where do I find|How do I find|Where are] [the |]{src} about {t}?
I am looking for {src} [about|on] {t}. [Can you help me?|Where should I look?|Do you have any?]
Do you have [any |some |good |]{src} [about|on] {t}?
I need {src} on {t} for [a paper|my class|an essay|a talk|a project|my studies].
I [want|would like|am trying] to find {src} about {t}.
Which shelf has the {src} about {t}?
Are there any {src} about {t} in [the|this|your] library?
[Can|Could] you [help me find|point me to|show me|tell me where to find] {src} [about|on] {t}?
My [teacher|professor|boss|mother] asked me to find {src} on {t}. Where do I start?
[How would I|How can I] [track down|get hold of] {src} [about|on] {t}?
Is there anything [here|in this library] about {t}?
What do you have [about|on] {t}?
Where is the section [about|on] {t}?
Where would I go for {src} on {t}?
Which floor has {src} on {t}?
I heard you have {src} about {t}. Where are they?
Anything on {t}?
Have you got {src} [about|on] {t}?
 Where does the library keep its {src} about {t}?
 I have to collect {src} on {t} by {day}. What should I do?
recommend
What should I read [first |]about {t}?
Can you recommend [a good|a short|a simple|a] {src1} about {t}?
[I am new to|I know nothing about|I just became curious about] {t}. What should I read?
What is the best {src1} about {t}?
Which {src1} about {t} would you [suggest|recommend|choose]?
I want to learn about {t}. [Where should I begin?|Any ideas?|What do you suggest?]
Could you suggest something [to read |]about {t}?
Is there a good introduction to {t}?
My [brother|friend|aunt|grandfather] likes {t}. What {src1} could I bring home?
I would like to read something [light|short|new|serious] about {t}.
Do you know a good {src1} about {t}?
I loved my last {src1} about {t}. What comes next?
Which {src} about {t} are worth reading?
What do people read about {t}?
 If I read only one thing about {t}, what should it be?
 I have a free weekend and want to read about {t}. What do you recommend?
explain
What {is} {t}?
Can you explain {t} [to me|in simple words|briefly]?
What can you tell me about {t}?
I do not understand {t}. [Can you explain?|Can you help?]
Why {is} {t} important?
Tell me [something|a little|more] about {t}.
[I have a question|I am curious|I want to ask] about {t}. Where do I begin?
How would you describe {t}?
How much do you know about {t}?
I never understood {t}. Who can explain?
How do I learn the basics of {t}?
Who knows a lot about {t}?
What does a beginner need to know about {t}?
 I keep hearing about {t}. What is it all about?
 What should everyone know about {t}?
cite
How do I cite a {src1} about {t}?
What is the right way to cite a {src1}?
[Can|Could] you [show me how to|help me] cite a {src1} [about|on] {t}?
I have to cite a {src1} on {t} [for my paper|in my essay|for class]. What do I write?
Which citation style should I use for a {src1} about {t}?
Do I need a page number when I cite a {src1}?
How do I write the list of sources for my paper on {t}?
My [teacher|professor|editor] wants sources for {t}. How do I list them?
Where do I put the year when I cite a {src1}?
Do I have to cite a {src1} about {t}?
 How should a {src1} about {t} appear in my list of sources?
 I am not sure how to write a reference for a {src1} on {t}.
evaluate
How do I know if a {src1} about {t} is reliable?
Can I trust a {src1} [about|on] {t}?
Is this {src1} about {t} a good source?
I found a {src1} about {t}. [Should I use it?|Is it reliable?|Can I trust it?]
How can I check the facts in a {src1} about {t}?
Is a {src1} [about|on] {t} better than a website?
Which {src} about {t} can I trust?
My [teacher|friend|uncle] says my {src1} about {t} is wrong. How do I check?
Who wrote the {src1} about {t}, and can I believe it?
How old may a {src1} about {t} be?
 What makes a {src1} about {t} trustworthy?
 My {src1} on {t} seems old. Does that matter?
write
My topic is {t}, but it is too broad. How do I narrow it down?
I need a research question about {t}.
[Can|Could] you help me [choose|form|narrow] a research question about {t}?
I want to write [a paper|an essay|a report] about {t}. [How should I start?|Where do I begin?]
What is a good question to ask about {t}?
I am stuck with my [essay|paper|report] about {t}.
How do I plan a [talk|paper|report] on {t}?
I must give a talk about {t} on {day}. Can you help?
How long should [a paper|an essay|a report] on {t} be?
My [essay|paper|homework] about {t} is due on {day}. What now?
Could you look at my [essay|paper|report] about {t}?
I have to write about {t} and do not know how.
 I have too many ideas about {t}. How do I choose?
 What would be an interesting angle on {t}?
renew
Can I [renew|extend|keep] my {src1} about {t}?
How long can I keep a {src1} about {t}?
I want to borrow a {src1} about {t}. [How does it work?|Is that possible?]
How many {src} can I borrow [at once|at a time]?
My {src1} about {t} is due on {day}. Can I keep it longer?
Can I take the {src} about {t} home?
Can I reserve a {src1} on {t}?
When do I have to return my {src1} about {t}?
Could you hold a {src1} about {t} for me until {day}?
I need the {src1} about {t} for another week.
Where do I return a {src1}?
 May I borrow two {src} about {t} over the holidays?
 Someone else has the {src1} about {t}. Can I get in line?
order
You do not have the {src1} I need about {t}. Can you get it from another library?
Can I order a {src1} about {t} from another library?
How long does an order from another library take?
The catalogue says you do not own any {src} about {t}. What now?
How do I request a {src1} on {t} that you do not have?
Can you buy a {src1} about {t} [for the library|for me]?
What does it cost to order a {src1} about {t}?
The {src1} about {t} is missing. Can you get another one?
I wish the library had more {src} about {t}.
Has my order about {t} arrived?
 Could the library buy a new {src1} about {t}?
 Is there a way to get {src} on {t} sent here?
search
Which database should I search for {t}?
How do I search the catalogue for {t}?
My search for {t} gives too many results. [What should I do?|Can you help?]
My search for {t} finds nothing. [What am I doing wrong?|What should I do?]
What keywords should I use for {t}?
How do I use the catalogue?
Is there a database with {src} about {t}?
What is the best way to search for {src} on {t}?
How do I find {src} on {t} online?
I typed in {t}, and nothing came up.
Can I search for {t} from home?
Who can show me how to search for {t}?
 Which search terms work for {t}?
 I get only old {src} when I search for {t}. Why?
kids
Do you have [books|stories|something] about {t} for a child of {age}?
My [daughter|son|niece|nephew] is {age} and loves {t}. What can we read?
What can a child of {age} read about {t}?
I teach children of {age}. Do you have {src} about {t}?
Is there a story time about {t}?
Which {src} about {t} are good for children?
My [daughter|son|niece|nephew] must write about {t} for school. Can you help?
Do children like {src} about {t}?
My class of {age} year olds wants to see {src} about {t}.
Where are the children's books about {t}?
 How do I explain {t} to a child of {age}?
 My little cousin keeps asking about {t}. What can I give her?
archive
Where can I find [primary sources|original documents] about {t}?
Do you keep old letters about {t}?
How do I use the archive for {t}?
Can I see the original {src} about {t}?
I want to study {t} with primary sources. [Where do I start?|What do you have?]
Are the {src} about {t} in the archive?
Do you have old photographs of {t}?
My grandmother wrote about {t}. Would the archive keep her letters?
May I touch the old {src} about {t}?
When is the archive open for {t}?
 What original material do you hold on {t}?
 How old are your oldest {src} about {t}?
hours*
When does the library open on {day}?
What are your opening hours?
Is the library open on {day}?
When do you close [today|on {day}|this week]?
Is the {room} open on {day}?
Are you open at {hour} on {day}?
Can I come at {hour} on {day}?
Is the desk open now?
Are you open on holidays?
Could I stay until {hour}?
 How late is the desk open?
 Until what time can I stay on {day}?
print*
How do I [print|copy|scan] [{n} pages|a page|a map|my essay]?
Can I [copy|scan|print] [pages from a|a] {src1}?
Where is the [printer|scanner|copy machine]?
How much does it cost to [print|copy|scan] {n} pages?
The [printer|scanner|copy machine] does not work. [What should I do?|Can you help?]
Can you print something for me?
The [printer|copy machine] took my money.
Does the [printer|copy machine] print in colour?
 How can I make a copy of a {src1}?
 The [printer|scanner] is out of paper. Who can fill it?
computer*
Can I use a computer here?
How do I connect to the [wifi|internet]?
May I use my own laptop in the {room}?
The [computer|internet|keyboard] does not work. What should I do?
What is the password for the [wifi|computers]?
Where are the computers?
How long can I use a computer?
Can you show me how to send a message?
 Is there a computer with a big screen?
 I cannot log in to the computer. Can you help?
room*
Can I book a study room on {day}?
Is there a quiet place to [read|work|study]?
Where can our group meet [on {day}|to work]?
How do I reserve the {room}?
We are {n} people. Can we have a room?
Where is the {room}?
May we hold a talk in the library?
Can I have a table near the window?
It is too loud in the {room}. Can you do something?
Is the {room} free on {day} at {hour}?
 We are {n} people and need a room on {day}.
 Is there somewhere I can read without noise?
card*
How do I get a library card?
I lost my library card. [What should I do?|Can you help?]
My card does not work. [Can you help?|What should I do?]
What does a library card cost?
Can my [friend|brother] use my card?
I moved to a new address. Do you need to know?
I forgot my card at home. Can I still borrow a {src1}?
My library card ends on {day}. How do I renew it?
Do I need a card to come in?
Can a child have a library card?
 I would like to join the library. What do I need?
 May I use the card of my [sister|mother]?
fine*
Do I have to pay a fine for my {src1}?
How much is the fine for a late {src1}?
I spilled tea on a {src1}. What happens now?
I lost a {src1}. [What happens now?|What should I do?]
My {src1} is [a week|{n} days] late. What now?
Why do I have to pay a fine?
Can I pay my fine on {day}?
My dog ate a {src1}.
 I returned my {src1} late. Do I owe money?
 A page of my {src1} is torn. Do I have to pay?
lost*
I lost my [umbrella|scarf|bag|glasses|keys] in the {room}. Have you seen it?
Can I leave my [bag|coat|bicycle] here?
Can you watch my [bag|laptop] for a minute?
I cannot find my [coat|pen|phone|notebook]. Can you help me look?
I found [a wallet|a key|an umbrella] in the {room}. What do I do with it?
Is there a place for my [coat|bag]?
Where are lost things kept?
I think I forgot my [hat|bottle|book] here on {day}.
 Somebody left [a bag|a phone|a glove] in the {room}. Where do I hand it in?
 Did anyone find a [ring|black coat|blue bag] on {day}?
house*
Where is the [toilet|coffee machine|lift|way out]?
May I [eat|drink tea|bring my dog] in the {room}?
I want to complain about the noise.
The light in the {room} is broken.
It is [too cold|too warm|too dark] in the {room}.
Is it possible to talk to the head librarian?
Are phones allowed in the {room}?
Can I open a window in the {room}?
 Is there a place to have lunch?
 Is it allowed to [whisper|sing|sleep] in the {room}?
chat*
Is there an event in the library on {day}?
Can I work here as a volunteer?
What do you do here all day?
[Can|Could] you help me?
How are you today?
I am bored. What can I do here?
Do you like your work?
Is there a tour of the library?
I need help.
Do you have a moment?
What is new in the library?
Who are you?
 What is going on in the library this week?
 I have never been in a library. What do I do?
"""


def _read():
    forms, held_out, without_topic = {}, {}, set()
    intent = None
    for line in TEXT.strip("\n").split("\n"):
        if " " not in line:
            intent = line.rstrip("*")
            forms[intent], held_out[intent] = [], []
            if line.endswith("*"):
                without_topic.add(intent)
        elif line.startswith(" "):
            held_out[intent].append(line.strip())
        else:
            forms[intent].append(line)
    return forms, held_out, without_topic


FORMS, HELD_OUT, WITHOUT_TOPIC = _read()
