// The grammar of make_stories: plain data, in a small language of its own that stories.cc expands.
//   a|b        one of the choices
//   [a|b]      the same inside a sentence
//   {rule}     an expansion of that rule; {Rule} with a capital; {a rule} with "a" or "an" before it
//   /          a new line; other white space, however long, is one space
// A fact is chosen once per story and then stays what it is; a phrase is chosen anew wherever it stands.
// Besides the rules, stories.cc casts the facts {hero} {child} {he} {him} {his} and, for {pal}, {palhe}
// {palhim} {palhis}. All wording is Clutch's own.
#pragma once

#include <string_view>

namespace clutch {

enum class RuleKind { kFact, kPhrase };

struct GrammarRule {
  std::string_view name;
  RuleKind kind;
  std::string_view text;
};

inline constexpr GrammarRule kStoryGrammar[] = {
    // Who.
    {"girl", RuleKind::kFact,
     "Ada|Bella|Clara|Daisy|Ella|Flora|Greta|Hanna|Ida|June|Kira|Lily|Mina|Nora|Olive|Poppy|Rosa|Sofia|"
     "Tessa|Una|Vera|Willa|Yara|Zoe"},
    {"boy", RuleKind::kFact,
     "Abel|Bruno|Caleb|Dario|Emil|Felix|Gus|Hugo|Ivan|Jonas|Karl|Leo|Milo|Noah|Oscar|Peter|Rafi|Simon|Tom|"
     "Umar|Victor|Will|Yusuf|Zeno"},
    {"trait", RuleKind::kFact,
     "kind|brave|curious|cheerful|shy|clever|gentle|lively|quiet|patient|merry|thoughtful|busy|dreamy|"
     "careful|eager|playful|stubborn|friendly"},
    {"home", RuleKind::kFact,
     "in a [small|white|crooked] house by the sea|in a [yellow|narrow|tidy] house on a hill|on a farm at "
     "the edge of the woods|in a tall tower near the market|in a [snug|stone|thatched] cottage beside the "
     "mill|at the end of a [long|winding|sleepy] lane|on a boat that never sailed|above a bakery in a "
     "busy town"},
    {"elder", RuleKind::kFact, "Grandma|Grandpa|Mama|Papa|Aunt Rose|Uncle Ben|Old Martha|Cousin Jack"},
    {"animal", RuleKind::kFact,
     "rabbit|fox|bear|duck|hedgehog|squirrel|mouse|kitten|puppy|frog|owl|turtle|goat|lamb|pony|badger|"
     "otter|goose|mole|donkey"},
    {"pal", RuleKind::kFact,
     "Pip|Dot|Moss|Bramble|Button|Pepper|Clover|Biscuit|Nutmeg|Acorn|Tumble|Pebble|Thistle|Muffin|Sprout|"
     "Bean|Fern|Marble|Patch|Ginger|Pickle|Whisker|Puddle|Twig"},
    {"looks", RuleKind::kFact,
     "little|tiny|plump|fluffy|grey|brown|speckled|sleepy|old|bouncy|clumsy|wise|young|scruffy|cheeky|"
     "graceful"},
    {"stranger", RuleKind::kFact,
     "robin|snail|beetle|wren|toad|hare|sparrow|magpie|lizard|cricket|shrew|pigeon"},
    {"habit", RuleKind::kFact,
     "liked to sing|told funny jokes|was never in a hurry|knew every path for miles|could whistle any "
     "tune|loved to dance|collected smooth stones|was always hungry|asked a hundred questions a day|wore "
     "a [red|blue|striped] scarf"},

    // Where and when.
    {"place", RuleKind::kFact,
     "in the meadow|by the pond|near the old mill|on the hill|at the edge of the wood|beside the stream|"
     "on the beach|in the orchard|in the park|behind the barn|under the great oak|by the stone bridge"},
    {"weather", RuleKind::kFact, "sunny|warm|bright|breezy|misty|cloudy|mild|golden|calm|chilly|clear"},
    {"lead", RuleKind::kPhrase,
     "One {weather} [morning|afternoon|day]|On {a weather} day in [spring|summer|autumn]|Early one "
     "{weather} morning|One {weather} [Monday|Tuesday|Thursday|Friday|Saturday|Sunday]"},
    {"soon", RuleKind::kPhrase, "Just then|All at once|A moment later|Before long|Suddenly"},

    // Things.
    {"colour", RuleKind::kFact, "red|blue|green|yellow|purple|silver|orange|white|golden|pink"},
    {"toy", RuleKind::kFact,
     "ball|drum|train|doll|crown|whistle|spinning top|bucket|hat|flag|puppet|lantern|bell|toy horse|"
     "mitten|ribbon"},
    {"knit", RuleKind::kFact, "scarf|hat|cap|shawl"},
    {"food", RuleKind::kFact,
     "bread|cheese|apple pie|plum cake|honey cake|gingerbread|carrot cake|cherry crumble|nut cake|"
     "walnut bread"},
    {"meal", RuleKind::kPhrase,
     "[hot|thick] [pea|tomato|onion|bean] soup|[warm|fresh] bread with [honey|butter|jam]|[potato|leek] "
     "pie|noodles with cheese|roasted chestnuts|porridge with [raisins|cinnamon|cream]"},
    {"gift", RuleKind::kPhrase,
     "a handful of sweet berries|a shiny button|a bright feather|a basket of mushrooms|a tiny pot of "
     "honey|a shell that hummed like the sea|a string of acorns"},
    {"tree", RuleKind::kFact, "oak|maple|pear|cherry|willow|birch|chestnut|walnut"},
    {"flower", RuleKind::kFact, "sunflower|pumpkin|rose|bean plant|tulip|poppy|strawberry plant|foxglove"},
    {"skill", RuleKind::kFact,
     "swim|skate|ride the pony|whistle|juggle|walk on stilts|row a boat|play the flute"},
    {"dream", RuleKind::kPhrase,
     "ships|dragons|far islands|dancing bears|clouds made of wool|a train to the moon"},

    // How people speak.
    {"ohno", RuleKind::kPhrase, "Oh no|Oh dear|Goodness|Bother|Dear me"},
    {"cried", RuleKind::kPhrase, "cried|said|sighed|wailed|whispered"},
    {"comfort", RuleKind::kPhrase,
     "Do not worry|Do not be sad|Never mind|Cheer up|Dry your eyes|Take a deep breath|Leave it to me"},
    {"hooray", RuleKind::kPhrase, "Hooray|We did it|How wonderful|At last|Look at that|What a day"},
    {"happy", RuleKind::kPhrase, "happy|proud|glad|pleased|delighted"},

    // The frame of a story.
    {"story", RuleKind::kPhrase,
     "{opening} [{about}||] {friend} / [{lost}|{tree_top}|{hungry}|{rain}|{quarrel}|{night}|{seed}|{race}|"
     "{baking}|{boat}|{baby}|{lesson}|{snow}|{neighbour}|{fog}|{broken}]"},
    {"opening", RuleKind::kPhrase,
     "[Once upon a time|Long ago|Once] there was {a trait} {child} [called|named] {hero} who lived "
     "{home}.|{Hero} was {a trait} {child} who lived {home}[| with {elder}].|There was once {a trait} "
     "{child} [called|named] {hero}. {He} lived {home}[| with {elder}].|In a house [with a blue door|full "
     "of clocks|with a crooked chimney|where the kettle always sang] lived {a trait} {child} [called|"
     "named] {hero}."},
    {"about", RuleKind::kPhrase,
     "{He} [loved|liked] {pleasure} and [did not care for|could not stand|was a little afraid of] {fear}.|"
     "{He} had [freckles|curly hair|two loose teeth|ink on {his} fingers|a gap between {his} teeth] and a "
     "[loud|soft|funny|bright] [voice|laugh].|More than anything, {he} [wanted|hoped|longed] to [see the "
     "ocean|be a captain|tame a horse|fly like a bird|find treasure|visit the desert|be very tall]."},
    {"pleasure", RuleKind::kFact,
     "maps|riddles|puddles|fairy tales|old coins|butterflies|the smell of rain|climbing|painting|long "
     "walks|counting stars|the sound of violins|mountains|building bridges"},
    {"fear", RuleKind::kFact,
     "spiders|loud noises|baths|thunder|cabbage|getting up early|the cellar|wasps|deep water|ladders|"
     "combing {his} hair|arithmetic"},
    {"friend", RuleKind::kPhrase,
     "{His} [best|dearest|closest|oldest] friend was {pal}, {a looks} {animal} who {habit}.|{He} had a "
     "friend [called|named] {pal}, {a looks} {animal} who {habit}.|Next door lived {a looks} {animal} "
     "[called|named] {pal}, who {habit}.|Wherever {hero} went, {pal} the {looks} {animal} [went too|came "
     "along|was never far behind]."},
    {"way_home", RuleKind::kPhrase,
     "{Hero} and {pal} [walked|skipped|ran|wandered] home [side by side|with a song|as the stars came out|"
     "laughing all the way]. [{Supper}|]"},
    {"told", RuleKind::kPhrase,
     R"(When {hero} told {elder} about it, {elder} [laughed and laughed|smiled and nodded|gave {him} a big
     hug]. "[You have a good heart|I am proud of you both|That is what friends are for]," said {elder}.)"},
    {"evening", RuleKind::kPhrase,
     "[{Supper}|] That night {hero} [slept soundly|fell asleep with a smile|dreamed of {dream}]."},
    {"later", RuleKind::kPhrase,
     "From that [day|time] on, {hero} and {pal} [were closer than ever|always helped each other|did "
     "everything together]. [|And if they have not grown old, they are playing still.]|{Hero} and {pal} "
     "[never forgot that day|often spoke of it|still laugh about it when they meet]."},
    {"supper", RuleKind::kPhrase,
     "{Elder} had made {meal} for supper, and [nothing had ever tasted better|there was plenty for "
     "everyone|they told the whole story twice]."},

    // What happens: one problem each, and the way out of it.
    {"lost", RuleKind::kPhrase,
     R"({Lead}, {hero} [took|carried] {his} {colour} {toy} to play {place}. {Hero} and {pal} played [hide and
     seek|pirates|tag|explorers|kings and queens] until [the bells rang|the sun was low|they were out of
     breath]. But when it was time to go, the {toy} was gone! / "{Ohno}! [Where can it be?|I have lost my
     {toy}!|It was here a minute ago!]" {cried} {hero}. / "{Comfort}," said {pal}. "We will look for it
     together." They looked [under the bench|behind the wall|inside a hollow log], [beneath the bushes|between
     the stones|around every corner] and [along the path|among the leaves|down by the gate]. At last {pal}
     [saw|spotted|noticed] something {colour} in the tall grass. It was the {toy}! "[Four eyes see more than
     two|I would never have found it alone]," said {hero}. / [{way_home}|{told}|{later}])"},
    {"tree_top", RuleKind::kPhrase,
     R"(One windy [morning|afternoon|day], {hero} went to fly {his} {colour} kite [on the hill|in the
     meadow|on the beach]. Up it went, [over the rooftops|above the trees|as high as the swallows]. Then [the
     string snapped|a gust pulled the string away], and the kite was caught at the top of {a tree} tree. /
     "{Ohno}, it is too high for me," {cried} {hero}. "{Comfort}," said {pal}, and {palhe}
     [fetched|brought|found] a [ladder|long pole|rope]. {Pal} held it [steady|tight|firmly] while {hero}
     reached up, [higher and higher|little by little|with one arm and then the other], and pulled the kite
     free. / "{Hooray}!" they shouted, and soon the kite was [dancing|sailing|soaring] in the sky again. /
     [{way_home}|{told}|{later}])"},
    {"hungry", RuleKind::kPhrase,
     R"({Lead}, {elder} gave {hero} some {food} in a basket. {Hero} and {pal} sat down {place} to eat. {Soon}
     they heard a [small|thin|sad] voice. "Please, I am so hungry," it said. It was {a stranger} [with muddy
     feet|with tired eyes|who shivered in the wind]. / {Hero} looked at the {food}. There was not much of it,
     but {he} [cut it into three|shared it out] all the same. "[Come and eat with us|There is enough for
     three]," {he} said. The {stranger} ate every crumb and [bowed politely|smiled for the first time]. / The
     next day there was a knock at the door. The {stranger} had brought them {gift}! / [{evening}|{later}])"},
    {"rain", RuleKind::kPhrase,
     R"({Lead}, {hero} and {pal} packed a [simple|large|tasty|secret] [picnic|lunch] and spread {a colour}
     blanket {place}. They had just begun to eat when [a drop fell on {pal}'s nose|dark clouds rolled
     in|thunder rumbled far away]. Soon the rain was [pouring down|drumming on everything]. / "{Ohno}, our day
     is spoiled!" {cried} {hero}. "{Comfort}," said {pal}. "[Hold up the blanket|Take two corners of the
     blanket]!" They [tied|hung] it between two branches, and it made a [fine|splendid|cosy] tent. Inside they
     [told riddles|sang every song they knew|counted the drops] and ate until nothing was left. / "[Rain is
     fun when you are dry|I hope it rains tomorrow too]," laughed {hero}. / [{way_home}|{told}|{later}])"},
    {"quarrel", RuleKind::kPhrase,
     R"({Lead}, {hero} and {pal} found {a colour} {toy} {place}. "It is mine, I saw it first!" [shouted|said]
     {hero}. "No, it is mine!" [shouted|said] {pal}. They pulled and pulled until, [crack|snap|rip], the {toy}
     broke in two. / Nobody spoke for a long time. Then {hero} [looked down|swallowed hard|turned red]. "I am
     sorry," {he} said. "I am sorry too," said {pal}. They [took|carried] the pieces to {elder}, who had
     [glue|needle and thread|a hammer and nails|strong string]. Together they mended it, and it was almost as
     good as new. / After that, {hero} had the {toy} [in the morning|on odd days], and {pal} had it [in the
     afternoon|on even days]. / [{evening}|{later}])"},
    {"night", RuleKind::kPhrase,
     R"(One [dark|stormy|moonless] night, when {pal} was staying with {hero}, they both woke up. [Tap, tap,
     tap|Scratch, scratch|Thump, thump] went something at the window. {Hero} pulled the blanket over {his}
     head. "Did you hear that?" {he} whispered. "Is it a [monster|giant|ghost|robber]?" / {Pal} was afraid as
     well, but {palhe} lit a [candle|lantern|lamp]. "Let us look together," said {pal}. "Then it is only half
     as [scary|frightening]." They crept [across the cold floor|to the window on their toes] and opened the
     curtain. / Outside sat {a stranger}, [wet|cold|lost] and [shaking|hungry]. They let it in and gave it
     {meal}. "What a [gentle|small|polite] monster," laughed {hero}. / {later})"},
    {"seed", RuleKind::kPhrase,
     R"(In [spring|April|May], {elder} gave {hero} a [tiny|brown|wrinkled] seed. {He} planted it [by the
     wall|behind the barn|beside the gate] and watered it every [morning|evening]. One week passed, and
     nothing [grew|happened]. Two weeks passed, and still there was only [mud|earth|soil]. / "It will never
     grow," {cried} {hero}. "{Comfort}," said {pal}. "Good things take time." So they [pulled up the
     weeds|chased away the crows|sang to it] and waited. / Then one {weather} morning a [green|pale] leaf
     peeped out of the ground. It grew [taller|bigger] every day, and by the end of summer it was the finest
     {flower} in the [village|valley|country]. {Hero} had never been so {happy}. / [{evening}|{later}])"},
    {"race", RuleKind::kPhrase,
     R"({Lead}, {hero} and {pal} ran a race. "The first one to the [gate|bridge|well|big rock] wins {a colour}
     ribbon!" called {elder}. "Ready, steady, go!" / {Hero} was [fast|quick], but {pal} was [faster|quicker
     still]. They ran [past the pond|through the clover|over the little hill] and [down the lane|round the hen
     house|between the haystacks]. Then {pal} [slipped on the mud|tripped over a root] and hurt [one
     leg|{palhis} foot]. {Hero} could see the end. It was so near! But {he} stopped and turned back. / "[Lean
     on me|Let me carry you|Let me help you]," {he} said. "[We will finish together|Nobody wins alone today]."
     And they crossed the line at the very same time. {Elder} cut the ribbon in two. / [{evening}|{later}])"},
    {"baking", RuleKind::kPhrase,
     R"({Lead}, {hero} had a secret plan. It was {elder}'s birthday, and {he} wanted to bake a
     [huge|round|tall] cake. {Pal} [stirred the flour|cracked the eggs|melted the butter], and {hero}
     [measured|weighed|poured] the milk. But the [sugar|honey|salt] jar was empty! / "{Ohno}, what shall we
     do?" {cried} {hero}. "{Comfort}," said {pal}, and {palhe} ran to the [miller|baker|teacher|postman] next
     door and came back with a full [cup|bowl|spoon]. Soon the kitchen smelled [sweet|of vanilla|like a
     holiday]. / The cake was [a little crooked|rather flat|burnt on one side], but {elder} ate three slices.
     "[It is the best cake in the world|I have never had a better one]!" said {elder}. /
     [{evening}|{later}])"},
    {"boat", RuleKind::kPhrase,
     R"({Lead}, {hero} and {pal} built a boat from [an old box|planks and rope|a barrel]. They painted it
     {colour} and called it the [Brave|Jolly|Flying] [Duck|Star|Button]. Then they pushed it into the
     [river|lake|pond]. / At first it floated [beautifully|like a swan|very well]. {Soon} {pal} looked down.
     "My feet are wet!" {palhe} cried. There was a hole in the bottom! {Hero} [scooped out the water with
     {his} hat|rowed as hard as {he} could], and {pal} [stuffed {palhis} scarf into the hole|sat on the hole].
     They reached the [bank|shore] [dripping|soaked] but safe. / "Next time we will test it first," said
     {hero}, and they [laughed|giggled] until their sides hurt. / [{way_home}|{told}|{later}])"},
    {"baby", RuleKind::kPhrase,
     R"({Lead}, {hero} and {pal} went for a walk {place}. [Under a fern|Behind a stone|Beside the path] they
     found a baby {stranger}, all alone. "I cannot find my mother," it [sobbed|sniffed]. / "{Comfort}," said
     {hero}. "We will take you home." {Pal} [studied the ground|listened carefully|climbed up to look around]
     and [called|said], "This way!" They followed the [tracks|trail|stream] [round the marsh|past three tall
     pines|up a steep bank]. The little one was tired, so {hero} carried it in {his} [pocket|cap|basket]. /
     {Soon} they heard someone calling. It was the mother! She [thanked|kissed] them both and gave them
     {gift}. / [{way_home}|{told}|{later}])"},
    {"lesson", RuleKind::kPhrase,
     R"({Hero} wanted to learn to {skill}. {Elder} could do it, and it looked [easy|so simple]. But the first
     time {he} tried, {he} [failed|made a mess of it]. The second time was [worse|no better]. "I will never
     learn it!" {cried} {hero}, and {he} [stamped {his} foot|threw {his} hat on the ground]. / "{Comfort},"
     said {pal}. "I fell over many times before I could walk. Try [again|once more] tomorrow." So {hero}
     practised [before breakfast|after school|every single day], and {pal} [clapped|counted|cheered] each
     time. / {Lead}, it [worked|finally worked]! "{Hooray}!" called {pal}. {Hero} could {skill}, and {he} felt
     very {happy}. / [{evening}|{later}])"},
    {"snow", RuleKind::kPhrase,
     R"(One winter [morning|day], the whole [garden|village|world] was white. {Hero} and {pal} [ran|tumbled]
     outside to build a snowman. They rolled [three big balls|one big ball and one small one] and gave it
     [pebbles|buttons|coal] for eyes and a [carrot|pine cone|twig] for a nose. "He looks cold," said {pal}, so
     {hero} lent him {a colour} {knit}. / The next day the sun came out, and the snowman grew
     [smaller|thinner] and smaller. "{Ohno}, he is leaving us!" {cried} {hero}. "{Comfort}," said {elder}. "He
     is only going to the [river|sea|clouds]. Next winter he will fall from the sky again." / {Hero} waved
     goodbye and kept the {knit} by the door. / [{evening}|{later}])"},
    {"neighbour", RuleKind::kPhrase,
     R"({Lead}, someone new moved into the house across the [road|lane|square]. It was {a stranger} who [never
     said a word|hid behind the curtain|always looked at the ground]. "Perhaps it does not like us," said
     {pal}. "Perhaps it is only shy," said {hero}. / So they wrapped up some {food}, put it on the
     doorstep, [rang the bell|knocked twice] and [stepped back|waited]. Slowly the door opened. "Is this for
     me?" asked the {stranger}. "Nobody ever gave me a present before." / {Hero} [smiled|nodded|grinned].
     "Would you like to play [chess|marbles|ball|cards] with us?" The {stranger} [beamed|jumped for joy], and
     from then on there were three of them. / [{evening}|{later}])"},
    {"fog", RuleKind::kPhrase,
     R"({Lead}, {hero} and {pal} [picked berries|gathered mushrooms|looked for fossils] far from home. They
     did not notice the fog until it was [thick as wool|all around them|grey on every side]. "{Ohno}, which
     way is home?" {cried} {hero}. / {Pal} [closed both eyes|sat very still]. "Listen," {palhe} said. Far away
     a [bell|dog|rooster|whistle] could be heard. They [held on to each other|counted their steps] and went
     toward the sound, [slowly|bit by bit|one step at a time]. The ground was [soft|stony|slippery], but they
     did not let go. / At last a [yellow|warm|friendly] light shone through the fog. There stood {elder} with
     a lantern! "{Hooray}!" shouted {hero}. / [{evening}|{later}])"},
    {"broken", RuleKind::kPhrase,
     R"({Lead}, {hero} and {pal} were [dancing|wrestling|playing catch] in the kitchen, though {elder} had
     told them not to. Crash! The [blue jug|big vase|best teapot|glass bowl] lay in pieces on the floor. / "We
     could hide it [under the rug|behind the stove]," said {pal}. {Hero} [thought about it|shook {his} head].
     {His} [heart|stomach] felt heavy. "No," {he} said. "[We must tell the truth|A lie would only make it
     worse]." / When {elder} came in, {hero} told {elder} everything. {Elder} was quiet for a moment. "I am
     sad about it," said {elder}, "but I am glad that you were [honest|brave enough to say so]." They swept
     the floor together, and {hero} felt as light as a [feather|cloud]. / [{evening}|{later}])"},
};

}  // namespace clutch
