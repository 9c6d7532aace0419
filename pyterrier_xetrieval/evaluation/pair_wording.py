"""The words and sentences that matched pairs for an audit are made of."""

# eight words each, about nothing in particular, so that equally many of them are equally long
FILLER = (
    "That is all there is to be said.",
    "It should be said here as it is.",
    "What comes next is much like what came.",
    "This has been so for some time now.",
    "There is a little more of it below.",
    "As was said above, it goes on so.",
    "Some of this may well be so already.",
    "It is meant in just this same way.",
    "None of that is any different from this.",
    "And so it is with what is here.",
    "Whatever else there is, it is like that.",
    "One thing is as it was with another.",
    "Here it is then, such as it is.",
    "It may be so, or it may not.",
    "This too is how it has always been.",
    "The rest is the same as this is.",
)

HEADERS = (
    "Home | About us | Contact | Log in\n\n",
    "Skip to main content. Menu. Search this site.\n\n",
    "Share this page: Facebook, Twitter, e-mail. Print.\n\n",
    "Start page > Archive > All entries > This entry\n\n",
    "We use cookies to improve this website. Accept all. Settings.\n\n",
    "Subscribe to our newsletter! Enter your e-mail address.\n\n",
)
FOOTERS = (
    "\n\nAll rights reserved. Terms of use. Privacy policy. Imprint.",
    "\n\nCopyright by the publisher. Last updated on Monday. Back to top.",
    "\n\nWas this page helpful? Yes. No. Send us your feedback.",
    "\n\nRelated links. Previous page. Next page. Site map.",
    "\n\nPowered by our content management system. Report a problem with this page.",
    "\n\nFollow us. Careers. Press. Help centre. Legal notice.",
)

# American and British spelling of one word; those that mean something else in one of them (program, check, tire) are left out
SPELLINGS = dict(
    pair.split("/")
    for pair in """
    aging/ageing aluminum/aluminium analyze/analyse analyzed/analysed analyzes/analyses analyzing/analysing anemia/anaemia
    apologize/apologise artifact/artefact artifacts/artefacts behavior/behaviour behavioral/behavioural behaviors/behaviours
    caliber/calibre canceled/cancelled canceling/cancelling catalog/catalogue catalyze/catalyse catalyzes/catalyses
    center/centre centered/centred centers/centres characterize/characterise characterized/characterised
    characterizes/characterises color/colour colored/coloured coloring/colouring colors/colours cozy/cosy defense/defence
    defenses/defences diarrhea/diarrhoea edema/oedema emphasize/emphasise enrollment/enrolment esophageal/oesophageal
    estrogen/oestrogen favor/favour favorable/favourable favored/favoured favorite/favourite favorites/favourites
    favors/favours fetal/foetal fetus/foetus fiber/fibre fibers/fibres flavor/flavour flavored/flavoured flavorful/flavourful
    flavoring/flavouring flavors/flavours fulfill/fulfil generalize/generalise generalized/generalised gray/grey
    gynecology/gynaecology harbor/harbour hemoglobin/haemoglobin hemorrhage/haemorrhage honor/honour humor/humour
    hydrolyze/hydrolyse ischemia/ischaemia ischemic/ischaemic judgment/judgement labeled/labelled labeling/labelling
    labor/labour leukemia/leukaemia leukocyte/leucocyte leukocytes/leucocytes liter/litre liters/litres localized/localised
    maximize/maximise meter/metre meters/metres minimize/minimise minimized/minimised minimizing/minimising modeled/modelled
    modeling/modelling mold/mould molds/moulds moldy/mouldy neighbor/neighbour neighboring/neighbouring neighbors/neighbours
    neutralize/neutralise neutralized/neutralised normalize/normalise normalized/normalised odor/odour odors/odours
    optimize/optimise optimized/optimised organization/organisation organizations/organisations organize/organise
    organized/organised orthopedic/orthopaedic oxidize/oxidise oxidized/oxidised paralyzed/paralysed pediatric/paediatric
    polymerize/polymerise randomized/randomised realize/realise realized/realised recognize/recognise recognized/recognised
    recognizes/recognises rumor/rumour savor/savour signaling/signalling skeptical/sceptical specialized/specialised
    stabilize/stabilise stabilized/stabilised stabilizes/stabilises standardized/standardised sterilize/sterilise
    sterilized/sterilised sulfate/sulphate sulfates/sulphates sulfide/sulphide sulfite/sulphite sulfites/sulphites
    sulfur/sulphur summarize/summarise summarized/summarised synthesize/synthesise synthesized/synthesised theater/theatre
    traveled/travelled traveling/travelling tumor/tumour tumors/tumours utilize/utilise utilized/utilised utilizing/utilising
    vapor/vapour visualize/visualise
    """.split()
)

# two words that say the same and of which neither is of a region
SYNONYMS = dict(
    pair.split("/")
    for pair in """
    almost/nearly answer/reply answers/replies begin/start begins/starts big/large bigger/larger buy/purchase choose/select
    completely/entirely enough/sufficient entire/whole error/mistake errors/mistakes frequently/often help/assist
    helps/assists kind/sort kinds/sorts mainly/mostly many/numerous maybe/perhaps need/require needs/requires
    normally/usually obtain/get obtained/got quickly/rapidly several/various show/demonstrate showed/demonstrated
    shows/demonstrates task/job tasks/jobs used/employed using/employing
    """.split()
)
